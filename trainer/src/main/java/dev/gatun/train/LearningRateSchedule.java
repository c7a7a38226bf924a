package dev.gatun.train;

/** How the learning rate goes after warm-up, as transformers' schedules of these names. */
public enum LearningRateSchedule {
  LINEAR,
  COSINE,
  CONSTANT,
  CONSTANT_WITH_WARMUP;

  /** The constant of this name; see {@link #toString}. */
  public static LearningRateSchedule fromName(String name) {
    return OptionName.parse(LearningRateSchedule.class, "lr_scheduler_type", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
