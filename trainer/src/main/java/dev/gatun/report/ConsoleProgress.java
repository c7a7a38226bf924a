package dev.gatun.report;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Shows a run to the person who started it: a bar that is redrawn in place on a terminal, and a
 * plain line per log line everywhere.
 */
public final class ConsoleProgress implements MetricsListener {
  /** What the output can do. */
  public enum Style {
    /** A terminal: lines can be redrawn. */
    BAR,
    /** A file or a pipe. */
    LINES
  }

  private static final int BAR_WIDTH = 24;
  private static final String ERASE_LINE = "\r\u001b[K";

  private final PrintStream out;
  private final Style style;
  private long totalSteps;
  private long firstStep;
  private long startNanos;
  private double secondsPerStep = Double.NaN;

  public ConsoleProgress(PrintStream out, Style style) {
    this.out = out;
    this.style = style;
  }

  @Override
  public void onStart(RunPlan plan) {
    totalSteps = plan.totalSteps();
    plan.notes().forEach(out::println);
    out.printf(
        Locale.ROOT,
        "%d steps of %d %s, %s epochs%n",
        totalSteps,
        plan.rowsPerStep(),
        plan.rows().name().toLowerCase(Locale.ROOT),
        Numbers.significant(plan.totalEpochs(), 4));
    out.flush();
  }

  @Override
  public void onStep(StepMetrics metrics) {
    long now = System.nanoTime();
    if (firstStep == 0) {
      firstStep = metrics.step();
      startNanos = now;
      secondsPerStep = metrics.work().nanos() * 1e-9;
    } else {
      secondsPerStep = (now - startNanos) * 1e-9 / (metrics.step() - firstStep);
    }
    if (style == Style.BAR) {
      double seconds = metrics.work().nanos() * 1e-9;
      double tokensPerSecond = seconds > 0 ? metrics.work().tokens() / seconds : Double.NaN;
      int filled = (int) (metrics.step() * BAR_WIDTH / totalSteps);
      out.print(
          ERASE_LINE
              + "%3d%% [%s%s] "
                  .formatted(
                      metrics.step() * 100 / totalSteps,
                      "=".repeat(filled),
                      " ".repeat(BAR_WIDTH - filled))
              + line(
                  metrics.step(),
                  metrics.value(MetricName.LOSS),
                  metrics.value(MetricName.REWARDS_MARGINS),
                  metrics.value(MetricName.REWARDS_ACCURACIES),
                  tokensPerSecond));
      out.flush();
    }
  }

  @Override
  public void onLog(LogLine line) {
    if (style == Style.LINES) {
      out.println(
          line(
              line.step(),
              line.value(MetricName.LOSS),
              line.value(MetricName.REWARDS_MARGINS),
              line.value(MetricName.REWARDS_ACCURACIES),
              line.value(MetricName.TOKENS_PER_SECOND)));
      out.flush();
    }
  }

  @Override
  public void onWarning(String line) {
    if (style == Style.BAR) {
      out.println();
    }
    out.println(line);
  }

  @Override
  public void onEnd(RunSummary summary) {
    if (style == Style.BAR) {
      out.println();
    }
    out.printf(
        Locale.ROOT,
        "%s after %d steps in %s, mean loss %s%n",
        summary.end() == RunSummary.End.COMPLETED ? "done" : "interrupted",
        summary.steps(),
        Numbers.duration(summary.seconds()),
        Numbers.significant(summary.meanLoss(), 4));
    summary.notes().forEach(out::println);
    out.flush();
  }

  private String line(
      long step, double loss, double margin, double accuracy, double tokensPerSecond) {
    List<String> parts = new ArrayList<>();
    parts.add("step %d/%d".formatted(step, totalSteps));
    parts.add("loss " + Numbers.significant(loss, 4));
    if (!Double.isNaN(margin)) {
      parts.add("margin " + Numbers.significant(margin, 4));
    }
    if (!Double.isNaN(accuracy)) {
      parts.add("accuracy " + Numbers.significant(accuracy, 3));
    }
    if (!Double.isNaN(tokensPerSecond)) {
      parts.add(Math.round(tokensPerSecond) + " tokens/s");
    }
    if (!Double.isNaN(secondsPerStep)) {
      parts.add(Numbers.duration((totalSteps - step) * secondsPerStep) + " left");
    }
    return String.join("  ", parts);
  }
}
