package dev.gatun.cli;

import dev.gatun.report.ConsoleProgress;
import dev.gatun.report.MetricsJsonl;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunSummary;
import dev.gatun.train.RunConfig;
import java.util.List;

/** What a training command shows and keeps of its run, beside the model itself. */
final class RunOutput implements AutoCloseable {
  private final RunConfig run;
  private final Console console;
  private final ConsoleProgress progress;
  private final MetricsJsonl metrics;

  /** Makes the output folder and opens {@code metrics.jsonl} in it. */
  static RunOutput open(RunConfig run, Console console) {
    run.createOutputDir();
    return new RunOutput(run, console);
  }

  private RunOutput(RunConfig run, Console console) {
    this.run = run;
    this.console = console;
    this.progress = new ConsoleProgress(console.out(), console.progress());
    this.metrics = MetricsJsonl.create(run.outputDir().resolve("metrics.jsonl"));
  }

  List<MetricsListener> listeners() {
    return List.of(metrics, progress);
  }

  /** Says where the model is, and what the process's exit code must be. */
  ExitCode finish(RunSummary summary) {
    console.out().println("model saved to " + run.outputDir());
    return switch (summary.end()) {
      case COMPLETED -> ExitCode.OK;
      case INTERRUPTED -> ExitCode.INTERRUPTED;
    };
  }

  @Override
  public void close() {
    metrics.close();
  }
}
