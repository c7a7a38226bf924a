package dev.gatun.train;

/** What a row that cannot be trained on does. */
public enum OnBadRow {
  /** Stops the run before training. */
  ERROR,
  /** Is left out, counted and reported. */
  SKIP;

  /** The constant of this name; see {@link #toString}. */
  public static OnBadRow fromName(String name) {
    return OptionName.parse(OnBadRow.class, "on_bad_row", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
