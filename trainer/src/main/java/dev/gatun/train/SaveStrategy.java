package dev.gatun.train;

/** When model directories {@code checkpoint-N} are written; the final model always is. */
public enum SaveStrategy {
  NO,
  STEPS,
  EPOCH;

  /** The constant of this name; see {@link #toString}. */
  public static SaveStrategy fromName(String name) {
    return OptionName.parse(SaveStrategy.class, "save_strategy", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
