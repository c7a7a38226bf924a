package dev.gatun.report;

/**
 * Everything a run measures, under TRL's names where TRL has the metric, in the order of TRL's log
 * lines. Definitions in docs/metrics.md.
 */
public enum MetricName {
  LOSS("loss", Window.MEAN_OF_STEPS),
  GRAD_NORM("grad_norm", Window.LAST),
  LEARNING_RATE("learning_rate", Window.LAST),
  ENTROPY("entropy", Window.MEAN_OF_MICRO_BATCHES),
  NUM_TOKENS("num_tokens", Window.LAST),
  LOGITS_CHOSEN("logits/chosen", Window.MEAN_OF_MICRO_BATCHES),
  LOGITS_REJECTED("logits/rejected", Window.MEAN_OF_MICRO_BATCHES),
  MEAN_TOKEN_ACCURACY("mean_token_accuracy", Window.MEAN_OF_MICRO_BATCHES),
  REWARDS_CHOSEN("rewards/chosen", Window.MEAN_OF_MICRO_BATCHES),
  REWARDS_REJECTED("rewards/rejected", Window.MEAN_OF_MICRO_BATCHES),
  REWARDS_ACCURACIES("rewards/accuracies", Window.MEAN_OF_MICRO_BATCHES),
  REWARDS_MARGINS("rewards/margins", Window.MEAN_OF_MICRO_BATCHES),
  LOGPS_CHOSEN("logps/chosen", Window.MEAN_OF_MICRO_BATCHES),
  LOGPS_REJECTED("logps/rejected", Window.MEAN_OF_MICRO_BATCHES),
  EPOCH("epoch", Window.LAST),
  /** Rows of preference data per second of the window; Gatun's own, like all that follow. */
  PAIRS_PER_SECOND("pairs_per_second", Window.DERIVED),
  /** Rows of text per second of the window. */
  SAMPLES_PER_SECOND("samples_per_second", Window.DERIVED),
  /** Tokens as {@link #NUM_TOKENS} counts them, per second of the window. */
  TOKENS_PER_SECOND("tokens_per_second", Window.DERIVED),
  /** Useful floating-point work of the window's steps over what the device could do at its peak. */
  MFU("mfu", Window.DERIVED),
  /**
   * Share of the peers' tokens that was not computed, because it was padding or a shared prompt.
   */
  WORK_SAVED("work_saved", Window.DERIVED);

  /** How a log line stands for the several steps it covers. */
  enum Window {
    MEAN_OF_STEPS,
    /** Every micro-batch weighs the same, as in TRL. */
    MEAN_OF_MICRO_BATCHES,
    LAST,
    /** Computed from the window's {@link StepWork}. */
    DERIVED
  }

  private final String text;
  private final Window window;

  MetricName(String text, Window window) {
    this.text = text;
    this.window = window;
  }

  Window window() {
    return window;
  }

  /** The name as it stands in log files. */
  @Override
  public String toString() {
    return text;
  }
}
