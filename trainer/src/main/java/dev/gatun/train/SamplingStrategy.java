package dev.gatun.train;

/** The order in which rows are visited, as transformers 5 names it. */
public enum SamplingStrategy {
  RANDOM,
  SEQUENTIAL,
  GROUP_BY_LENGTH;

  /** The constant of this name; see {@link #toString}. */
  public static SamplingStrategy fromName(String name) {
    return OptionName.parse(SamplingStrategy.class, "train_sampling_strategy", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
