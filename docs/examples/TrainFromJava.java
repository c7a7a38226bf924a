import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.StepMetrics;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.DpoTrainer;
import dev.gatun.train.LossType;
import java.nio.file.Path;
import java.util.List;

/** Trains a model on preference pairs from Java: MODEL_DIRECTORY PAIRS_JSONL OUTPUT_DIRECTORY. */
public final class TrainFromJava {
  private TrainFromJava() {}

  public static void main(String[] arguments) {
    DpoConfig config =
        DpoConfig.builder()
            .modelNameOrPath(Path.of(arguments[0]))
            .datasetName(Path.of(arguments[1]))
            .outputDir(Path.of(arguments[2]))
            .lossType(LossType.SIGMOID)
            .beta(0.1)
            .learningRate(1e-4)
            .perDeviceTrainBatchSize(4)
            .maxSteps(3)
            .build();
    MetricsListener print =
        new MetricsListener() {
          @Override
          public void onStep(StepMetrics step) {
            System.out.printf(
                "step %d: loss %.4f, margin %.4f%n",
                step.step(),
                step.value(MetricName.LOSS),
                step.value(MetricName.REWARDS_MARGINS));
          }
        };
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of(print))) {
      trainer.plan().notes().forEach(System.out::println);
      trainer.train();
    }
  }
}
