package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunPlan;
import dev.gatun.report.RunReporter;
import dev.gatun.report.RunSummary;
import dev.gatun.report.StepMetrics;
import dev.gatun.report.TrainerState;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Function;

/**
 * Runs a schedule step by step, tells listeners, and writes the model when the configuration says
 * so: {@code checkpoint-N} folders on the way, the output directory itself at the end. An
 * interrupted run writes the model too.
 */
final class TrainingLoop {
  private final Backend backend;
  private final TrainingSchedule schedule;
  private final RunConfig config;
  private final Policy policy;
  private final RunPlan plan;
  private final TrainerState state = new TrainerState();
  private final List<MetricsListener> listeners;
  private final BooleanSupplier interrupted;

  TrainingLoop(
      Backend backend,
      TrainingSchedule schedule,
      RunConfig config,
      Policy policy,
      RunPlan plan,
      List<MetricsListener> listeners,
      BooleanSupplier interrupted) {
    this.backend = backend;
    this.schedule = schedule;
    this.config = config;
    this.policy = policy;
    this.plan = plan;
    this.interrupted = interrupted;
    this.listeners = new ArrayList<>(listeners);
    this.listeners.add(state);
  }

  RunSummary run(Function<TrainingSchedule.Step, StepMetrics> step) {
    RunReporter reporter = RunReporter.start(plan, listeners);
    RunSummary.End end = RunSummary.End.COMPLETED;
    for (int number = 1; number <= schedule.totalSteps(); number++) {
      if (interrupted.getAsBoolean()) {
        end = RunSummary.End.INTERRUPTED;
        break;
      }
      ProfileSteps profile = config.profileSteps();
      if (profile != null && number == profile.first()) {
        backend.startProfiler();
      }
      StepMetrics metrics;
      try (Backend.Range _ = backend.range("step")) {
        metrics = step.apply(schedule.step(number));
      }
      if (profile != null && number == profile.last()) {
        backend.stopProfiler();
      }
      reporter.step(metrics);
      if (isCheckpoint(number)) {
        write(config.outputDir().resolve("checkpoint-" + number));
      }
    }
    RunSummary summary = reporter.end(end, backend.summary());
    write(config.outputDir());
    return summary;
  }

  private boolean isCheckpoint(int number) {
    return switch (config.saveStrategy()) {
      case NO -> false;
      case STEPS -> number % plan.saveInterval() == 0;
      case EPOCH -> number % schedule.stepsPerEpoch() == 0 || number == schedule.totalSteps();
    };
  }

  private void write(Path directory) {
    policy.save(directory);
    dev.gatun.hf.AtomicFiles.write(directory.resolve("trainer_state.json"), state.toJson());
  }
}
