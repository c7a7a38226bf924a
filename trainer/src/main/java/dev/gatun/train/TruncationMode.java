package dev.gatun.train;

/** Which end of a sequence longer than {@code max_length} is kept. */
public enum TruncationMode {
  KEEP_START,
  KEEP_END;

  /** The constant of this name; see {@link #toString}. */
  public static TruncationMode fromName(String name) {
    return OptionName.parse(TruncationMode.class, "truncation_mode", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
