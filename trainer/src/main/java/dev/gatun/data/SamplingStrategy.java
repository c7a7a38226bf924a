package dev.gatun.data;

import java.util.Locale;

/** The order in which rows are visited, as transformers 5 names it. */
public enum SamplingStrategy {
  /** A new permutation in each epoch, from the seed. */
  RANDOM,
  /** File order in each epoch. */
  SEQUENTIAL,
  /** A new permutation in each epoch, sorted by length within stretches of it. */
  GROUP_BY_LENGTH;

  /** The name as users spell it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
