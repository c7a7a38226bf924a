package dev.gatun.report;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Keeps what transformers keeps in {@code trainer_state.json}: where the run is, and all log lines
 * so far. Tools that draw curves from that file read this one too.
 */
public final class TrainerState implements MetricsListener {
  private final List<MetricsJsonl.Fields> history = new ArrayList<>();
  private @Nullable RunPlan plan;
  private long step;
  private double epoch;
  private double flops;

  @Override
  public void onStart(RunPlan started) {
    plan = started;
  }

  @Override
  public void onStep(StepMetrics metrics) {
    step = metrics.step();
    epoch = metrics.value(MetricName.EPOCH);
    flops += metrics.work().usefulFlops();
  }

  @Override
  public void onLog(LogLine line) {
    history.add(
        generator -> {
          MetricsJsonl.writeMetrics(generator, line);
          generator.writeNumberField("step", line.step());
        });
  }

  @Override
  public void onEnd(RunSummary summary) {
    history.add(
        generator -> {
          MetricsJsonl.writeSummary(generator, summary);
          generator.writeNumberField("step", summary.steps());
        });
  }

  /**
   * The text of {@code trainer_state.json} as of the last step.
   *
   * @throws IllegalStateException if no run has started
   */
  public String toJson() {
    RunPlan run = plan;
    if (run == null) {
      throw new IllegalStateException("no run has started, so there is no state of it");
    }
    return MetricsJsonl.json(
        generator -> {
          generator.useDefaultPrettyPrinter();
          generator.writeNullField("best_global_step");
          generator.writeNullField("best_metric");
          generator.writeNullField("best_model_checkpoint");
          generator.writeNumberField("epoch", epoch);
          generator.writeNumberField("global_step", step);
          generator.writeBooleanField("is_hyper_param_search", false);
          generator.writeBooleanField("is_local_process_zero", true);
          generator.writeBooleanField("is_world_process_zero", true);
          generator.writeArrayFieldStart("log_history");
          for (MetricsJsonl.Fields line : history) {
            generator.writeStartObject();
            line.write(generator);
            generator.writeEndObject();
          }
          generator.writeEndArray();
          generator.writeNumberField("logging_steps", run.loggingInterval());
          generator.writeNumberField("max_steps", run.totalSteps());
          generator.writeNumberField("num_train_epochs", (long) Math.ceil(run.totalEpochs()));
          generator.writeNumberField("save_steps", run.saveInterval());
          generator.writeObjectFieldStart("stateful_callbacks");
          generator.writeEndObject();
          generator.writeNumberField("total_flos", flops);
          generator.writeNumberField("train_batch_size", run.rowsPerMicroBatch());
          generator.writeNullField("trial_name");
          generator.writeNullField("trial_params");
        });
  }
}
