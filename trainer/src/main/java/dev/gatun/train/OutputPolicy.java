package dev.gatun.train;

/** What an output folder that already holds something means. */
public enum OutputPolicy {
  /** Refuse to start. */
  ERROR,
  /** Write into it; files of the same name are replaced one by one, each atomically. */
  OVERWRITE;

  /** The constant of this name; see {@link #toString}. */
  public static OutputPolicy fromName(String name) {
    return OptionName.parse(OutputPolicy.class, "existing_output", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
