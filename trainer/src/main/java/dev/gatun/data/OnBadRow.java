package dev.gatun.data;

import java.util.Locale;

/** What a row that cannot be trained on does. */
public enum OnBadRow {
  /** Stops the run before training. */
  ERROR,
  /** Is left out, counted and reported. */
  SKIP;

  /** The name as users spell it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
