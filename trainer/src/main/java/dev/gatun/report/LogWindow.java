package dev.gatun.report;

import java.util.EnumMap;
import java.util.Map;

/** Gathers the steps between two log lines, and summarizes them as TRL and transformers do. */
final class LogWindow {
  private final RunPlan plan;
  private final Map<MetricName, Double> sums = new EnumMap<>(MetricName.class);
  private long lastStep;
  private long steps;
  private long microBatches;
  private StepWork work = StepWork.NONE;

  LogWindow(RunPlan plan) {
    this.plan = plan;
  }

  void add(StepMetrics metrics) {
    lastStep = metrics.step();
    steps++;
    microBatches += metrics.microBatches();
    work = work.plus(metrics.work());
    metrics
        .values()
        .forEach(
            (name, value) -> {
              switch (name.window()) {
                case MEAN_OF_STEPS -> sums.merge(name, value, Double::sum);
                case MEAN_OF_MICRO_BATCHES ->
                    sums.merge(name, value * metrics.microBatches(), Double::sum);
                case LAST, DERIVED -> sums.put(name, value);
              }
            });
  }

  boolean isEmpty() {
    return steps == 0;
  }

  /** The line for all steps since the last call, which a new window follows. */
  LogLine close() {
    Map<MetricName, Double> values = new EnumMap<>(MetricName.class);
    sums.forEach(
        (name, sum) ->
            values.put(
                name,
                switch (name.window()) {
                  case MEAN_OF_STEPS -> sum / steps;
                  case MEAN_OF_MICRO_BATCHES -> sum / microBatches;
                  case LAST, DERIVED -> sum;
                }));
    double seconds = work.nanos() * 1e-9;
    if (seconds > 0) {
      values.put(plan.rows().perSecond(), work.rows() / seconds);
      values.put(MetricName.TOKENS_PER_SECOND, work.tokens() / seconds);
      if (plan.peakFlopsPerSecond() > 0) {
        values.put(MetricName.MFU, work.usefulFlops() / seconds / plan.peakFlopsPerSecond());
      }
    }
    if (work.tokensPadded() > 0) {
      values.put(MetricName.WORK_SAVED, 1 - (double) work.tokensComputed() / work.tokensPadded());
    }
    LogLine line = new LogLine(lastStep, values);
    sums.clear();
    steps = 0;
    microBatches = 0;
    work = StepWork.NONE;
    return line;
  }
}
