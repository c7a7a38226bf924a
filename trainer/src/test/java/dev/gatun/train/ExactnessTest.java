package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.SamplingStrategy;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.StepMetrics;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What must not change a result: threads, packing, accumulation, recomputation. */
class ExactnessTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");

  @TempDir Path temp;

  private record Result(float[] weights, float[] gradients, List<StepMetrics> steps) {}

  private Result train(String model, UnaryOperator<DpoConfig.Builder> change) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(GOLDENS.resolve("models").resolve(model))
            .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
            .outputDir(temp.resolve("out"))
            .dtype(PrecisionChoice.FLOAT32)
            .overwriteOutputDir()
            .device(Device.CPU)
            .threads(1)
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .perDeviceTrainBatchSize(4)
            .learningRate(1e-3)
            .maxSteps(3);
    List<StepMetrics> steps = new ArrayList<>();
    MetricsListener collect =
        new MetricsListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            steps.add(metrics);
          }
        };
    try (DpoTrainer trainer = DpoTrainer.create(change.apply(builder).build(), List.of(collect))) {
      trainer.train();
      return new Result(
          trainer.backend().downloadF32(trainer.policy().parameters().all()),
          trainer.backend().downloadF32(trainer.policy().gradientSlab().all()),
          steps);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-llama", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2", "tiny-llama-bf16"})
  void threadsDoNotChangeABit(String model) {
    Result one = train(model, builder -> builder);
    for (int threads = 2; threads <= 3; threads++) {
      int count = threads;
      Result several = train(model, builder -> builder.threads(count));
      assertArrayEquals(one.weights, several.weights, threads + " threads");
    }
  }

  @Test
  void accumulationDoesNotChangeABit() {
    Result whole = train("tiny-llama", builder -> builder);
    Result parts =
        train(
            "tiny-llama",
            builder -> builder.perDeviceTrainBatchSize(1).gradientAccumulationSteps(4));
    assertArrayEquals(whole.weights, parts.weights);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2"})
  void recomputationDoesNotChangeABit(String model) {
    Result kept = train(model, builder -> builder);
    Result recomputed = train(model, DpoConfig.Builder::gradientCheckpointing);
    assertArrayEquals(kept.weights, recomputed.weights);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-mistral", "tiny-gemma2", "tiny-gpt2"})
  void packingChangesRoundingOnly(String model) {
    Result together = train(model, builder -> builder.maxSteps(1));
    Result alone = train(model, builder -> builder.maxSteps(1).maxTokensPerPack(1));
    // Sums over the tokens of a step in another order: f32 epsilon times the square root of ~300.
    assertTrue(distance(alone.gradients, together.gradients) < 2e-6);
    assertEquals(
        together.steps.getFirst().value(MetricName.LOSS),
        alone.steps.getFirst().value(MetricName.LOSS),
        1e-7);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-llama-bf16", "tiny-gemma2-bf16"})
  void anUnchangedPolicyEqualsItsReferenceExactly(String model) {
    for (boolean precomputed : new boolean[] {false, true}) {
      Result result =
          train(
              model,
              builder ->
                  precomputed ? builder.maxSteps(1).precomputeRefLogProbs() : builder.maxSteps(1));
      StepMetrics first = result.steps.getFirst();
      assertEquals(0, first.value(MetricName.REWARDS_MARGINS));
      assertEquals(0, first.value(MetricName.REWARDS_ACCURACIES));
      assertEquals(Math.log(2), first.value(MetricName.LOSS), 1e-7);
    }
  }

  @Test
  void aModelWrittenIsTheModelReadBack() {
    Result result = train("tiny-qwen2", builder -> builder);
    DpoConfig.Builder again = DpoConfig.builder();
    Result reread =
        train(
            "tiny-qwen2",
            builder -> {
              Path written = temp.resolve("out");
              return again
                  .modelNameOrPath(written)
                  .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
                  .outputDir(temp.resolve("again"))
                  .dtype(PrecisionChoice.FLOAT32)
                  .device(Device.CPU)
                  .threads(1)
                  .learningRate(1e-30)
                  .maxSteps(1);
            });
    assertArrayEquals(result.weights, reread.weights);
  }

  @Test
  void bf16FollowsF32() {
    Result exact = train("tiny-llama", builder -> builder.maxSteps(10));
    Result rounded = train("tiny-llama", builder -> builder.maxSteps(10).bf16());
    for (int i = 0; i < 10; i++) {
      // The goldens' own bf16 runs differ from f32 by up to 6e-2 relative in the loss.
      double expected = exact.steps.get(i).value(MetricName.LOSS);
      assertEquals(expected, rounded.steps.get(i).value(MetricName.LOSS), 6e-2 * expected);
    }
  }

  /** |a - b| / |b| in the Euclidean norm. */
  private static double distance(float[] a, float[] b) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < a.length; i++) {
      difference += Math.pow((double) a[i] - b[i], 2);
      norm += (double) b[i] * b[i];
    }
    return Math.sqrt(difference / norm);
  }
}
