package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.SamplingStrategy;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.StepMetrics;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run that leaves the finite numbers stops there: no update, no metrics, no model. */
class DivergenceTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");

  @TempDir Path temp;

  private final List<StepMetrics> steps = new ArrayList<>();

  /** A first step of this size makes weights whose squares overflow, and the second loss a NaN. */
  private DpoTrainer trainer(int maxSteps) {
    DpoConfig config =
        DpoConfig.builder()
            .modelNameOrPath(GOLDENS.resolve("models/tiny-llama"))
            .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
            .outputDir(temp.resolve("out"))
            .dtype(PrecisionChoice.FLOAT32)
            .overwriteOutputDir()
            .device(Device.CPU)
            .threads(1)
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .perDeviceTrainBatchSize(2)
            .gradientAccumulationSteps(2)
            .maxTokensPerPack(1)
            .lrSchedulerType(LearningRateSchedule.CONSTANT)
            .learningRate(1e30)
            .maxSteps(maxSteps)
            .build();
    MetricsListener collect =
        new MetricsListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            steps.add(metrics);
          }
        };
    return DpoTrainer.create(config, List.of(collect));
  }

  private static float[] weights(DpoTrainer trainer) {
    return trainer.backend().downloadF32(trainer.policy().parameters().all());
  }

  @Test
  void aLossThatIsNotFiniteStopsTheRunBeforeItsUpdate() {
    float[] afterOne;
    try (DpoTrainer trainer = trainer(1)) {
      trainer.train();
      afterOne = weights(trainer);
    }
    Path model = temp.resolve("out/model.safetensors");
    assertTrue(model.toFile().delete(), "the first run wrote a model");
    steps.clear();
    try (DpoTrainer trainer = trainer(2)) {
      TrainingException e = assertThrows(TrainingException.class, trainer::train);
      assertEquals(
          "step 2: loss is NaN; rows [5, 6, 7, 8]; lower learning_rate or look at these rows",
          e.getMessage());
      assertArrayEquals(afterOne, weights(trainer));
    }
    assertEquals(1, steps.size());
    assertFalse(Files.exists(model), "a model was written");
  }
}
