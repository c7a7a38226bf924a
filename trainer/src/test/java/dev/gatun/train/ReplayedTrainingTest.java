package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CudaOptions;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunSummary;
import dev.gatun.report.StepMetrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Training with CUDA graphs and without gives the same bits, and graphs are replayed in it. */
@Tag("gpu")
class ReplayedTrainingTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");
  private static final Pattern SUMMARY =
      Pattern.compile("CUDA graphs: (\\d+) captured, replayed (\\d+) times, (\\d+) passes .*");

  @TempDir Path temp;

  private record Result(
      float[] weights, List<Map<MetricName, Double>> metrics, List<String> summary) {}

  /** Metrics of each step, and at last what the run has to say. */
  private static MetricsListener collecting(
      List<Map<MetricName, Double>> metrics, List<String> summary) {
    return new MetricsListener() {
      @Override
      public void onStep(StepMetrics step) {
        metrics.add(step.values());
      }

      @Override
      public void onEnd(RunSummary end) {
        summary.addAll(end.notes());
      }
    };
  }

  private Result dpo(
      String model, CudaOptions.Graphs graphs, UnaryOperator<DpoConfig.Builder> change) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(GOLDENS.resolve("models").resolve(model))
            .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
            .outputDir(temp.resolve("out"))
            .dtype(PrecisionChoice.FLOAT32)
            .overwriteOutputDir()
            .device(Device.fromName("cuda"))
            .cudaGraphs(graphs)
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .perDeviceTrainBatchSize(4)
            .learningRate(1e-3)
            .maxSteps(8);
    List<Map<MetricName, Double>> metrics = new ArrayList<>();
    List<String> summary = new ArrayList<>();
    try (DpoTrainer trainer =
        DpoTrainer.create(change.apply(builder).build(), List.of(collecting(metrics, summary)))) {
      trainer.train();
      return new Result(
          trainer.backend().downloadF32(trainer.policy().parameters().all()), metrics, summary);
    }
  }

  private void compare(String model, UnaryOperator<DpoConfig.Builder> change) {
    Result direct = dpo(model, CudaOptions.Graphs.OFF, change);
    Result replayed = dpo(model, CudaOptions.Graphs.ON, change);
    assertArrayEquals(direct.weights, replayed.weights);
    assertEquals(direct.metrics, replayed.metrics);
    assertEquals(List.of(), direct.summary);
    requireReplays(replayed.summary);
  }

  /** Shapes came once, and again. */
  private static void requireReplays(List<String> notes) {
    Matcher summary = SUMMARY.matcher(notes.getFirst());
    assertTrue(summary.matches(), notes::toString);
    assertTrue(Integer.parseInt(summary.group(2)) > 0, notes::toString);
    assertTrue(Integer.parseInt(summary.group(3)) > 0, notes::toString);
  }

  /** Packs of every length, many of them in a step, and a reference scored in between. */
  @Test
  void packsThatRepeatAndPacksThatDoNot() {
    compare("tiny-llama", builder -> builder.maxTokensPerPack(100).gradientAccumulationSteps(2));
  }

  @Test
  void aReferenceScoredOnceBeforeTrainingAndRecomputedActivations() {
    compare(
        "tiny-qwen3", b -> b.maxTokensPerPack(100).precomputeRefLogProbs().gradientCheckpointing());
  }

  @Test
  void aReferenceThatMovesInBf16() {
    compare(
        "tiny-llama-bf16", b -> b.maxTokensPerPack(100).bf16().syncRefModel().refModelSyncSteps(2));
  }

  @Test
  void textsToImitate() throws IOException {
    List<byte[]> weights = new ArrayList<>();
    List<Map<MetricName, Double>> metrics = new ArrayList<>();
    for (CudaOptions.Graphs graphs : List.of(CudaOptions.Graphs.OFF, CudaOptions.Graphs.AUTO)) {
      SftConfig config =
          SftConfig.builder()
              .modelNameOrPath(GOLDENS.resolve("models/tiny-qwen2"))
              .datasetName(sftRows())
              .outputDir(temp.resolve("sft"))
              .dtype(PrecisionChoice.FLOAT32)
              .overwriteOutputDir()
              .device(Device.fromName("cuda"))
              .cudaGraphs(graphs)
              .perDeviceTrainBatchSize(4)
              .maxSteps(8)
              .build();
      List<String> summary = new ArrayList<>();
      try (SftTrainer trainer = SftTrainer.create(config, List.of(collecting(metrics, summary)))) {
        trainer.train();
      }
      weights.add(Files.readAllBytes(temp.resolve("sft/model.safetensors")));
      if (graphs == CudaOptions.Graphs.AUTO) {
        requireReplays(summary);
      }
    }
    assertArrayEquals(weights.getFirst(), weights.getLast());
    assertEquals(metrics.subList(0, 8), metrics.subList(8, 16));
  }

  private Path sftRows() throws IOException {
    Path file = temp.resolve("texts.jsonl");
    StringBuilder rows = new StringBuilder();
    for (int i = 0; i < 12; i++) {
      rows.append("{\"prompt\": \"How many?\", \"completion\": \" ")
          .append("more ".repeat(1 + i % 5))
          .append("\"}\n");
    }
    return Files.writeString(file, rows);
  }
}
