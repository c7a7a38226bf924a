package dev.gatun.report;

import java.util.List;

/** Tells listeners of a run: each step, a log line when one is due, and the end. */
public final class RunReporter {
  private final RunPlan plan;
  private final List<MetricsListener> listeners;
  private final LogWindow window;
  private double lossSum;
  private double epoch;
  private long steps;
  private StepWork work = StepWork.NONE;

  /** Tells the listeners that the run starts. */
  public static RunReporter start(RunPlan plan, List<MetricsListener> listeners) {
    RunReporter reporter = new RunReporter(plan, listeners);
    reporter.listeners.forEach(listener -> listener.onStart(plan));
    return reporter;
  }

  private RunReporter(RunPlan plan, List<MetricsListener> listeners) {
    this.plan = plan;
    this.listeners = List.copyOf(listeners);
    this.window = new LogWindow(plan);
  }

  /** Tells of a finished step, and logs if one is due. */
  public void step(StepMetrics metrics) {
    steps++;
    lossSum += metrics.value(MetricName.LOSS);
    epoch = metrics.value(MetricName.EPOCH);
    work = work.plus(metrics.work());
    window.add(metrics);
    listeners.forEach(listener -> listener.onStep(metrics));
    long step = metrics.step();
    if (step % plan.loggingInterval() == 0 || (step == 1 && plan.logsFirstStep())) {
      log();
    }
  }

  /**
   * Tells that the run is over. As in transformers, steps after the last log line get none of their
   * own unless the run was cut short.
   *
   * @param notes lines for the user
   */
  public RunSummary end(RunSummary.End end, List<String> notes) {
    if (end == RunSummary.End.INTERRUPTED && !window.isEmpty()) {
      log();
    }
    RunSummary summary =
        new RunSummary(
            end,
            steps,
            epoch,
            work.rows(),
            work.nanos() * 1e-9,
            steps == 0 ? Double.NaN : lossSum / steps,
            work.usefulFlops(),
            notes);
    listeners.forEach(listener -> listener.onEnd(summary));
    return summary;
  }

  private void log() {
    LogLine line = window.close();
    listeners.forEach(listener -> listener.onLog(line));
  }
}
