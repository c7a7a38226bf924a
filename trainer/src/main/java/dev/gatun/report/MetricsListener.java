package dev.gatun.report;

/**
 * Follows a run. Called on the training thread, one call at a time; what a listener throws ends the
 * run.
 */
public interface MetricsListener {
  /** Before the first step. */
  default void onStart(RunPlan plan) {}

  /** After each optimizer step. */
  default void onStep(StepMetrics metrics) {}

  /** After each step that has a log line; the line covers all steps since the last. */
  default void onLog(LogLine line) {}

  /** Something that the user should know and that does not end the run: one line. */
  default void onWarning(String line) {}

  /** After the last step, before the model is written. */
  default void onEnd(RunSummary summary) {}
}
