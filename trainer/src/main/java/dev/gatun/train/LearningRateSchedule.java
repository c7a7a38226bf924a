package dev.gatun.train;

/** How the learning rate goes after warm-up, as transformers' schedules of these names. */
public enum LearningRateSchedule {
  LINEAR,
  COSINE,
  CONSTANT,
  CONSTANT_WITH_WARMUP;

  /**
   * Factor on the learning rate of a step.
   *
   * @param step 0-based
   */
  double factor(long step, long warmupSteps, long totalSteps) {
    if (step < warmupSteps) {
      return (double) step / warmupSteps;
    }
    double progress = (double) (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return switch (this) {
      case LINEAR -> Math.max(0, 1 - progress);
      case COSINE -> Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
      case CONSTANT, CONSTANT_WITH_WARMUP -> 1;
    };
  }

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
