package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.hf.SafetensorsFile;
import dev.gatun.model.Parameter;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.StepMetrics;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every recorded TRL run, trained again: metrics of all steps, gradients of the first, weights
 * after the last. The table of worst differences goes to {@code target/parity.md}.
 */
class GoldenRunsTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Relative difference that is allowed in f32 over 20 steps at learning rate 1e-3, and at step 1.
   * Two correct implementations (sdpa and eager attention) differ by 3e-6 there.
   */
  private static final double TOLERANCE = 1e-5;

  private static final double TOLERANCE_FIRST_STEP = 1e-6;

  /** What runs here in another precision, or by intent computes something else. */
  private static final Set<String> OTHER = Set.of("amp", "bf16", "sigmoid-ls0.1");

  /**
   * Values of a metric are compared relative to the larger of themselves and this scale: the size
   * of the terms whose difference they are.
   */
  private static final Map<MetricName, Double> SCALES =
      new EnumMap<>(
          Map.of(
              MetricName.REWARDS_CHOSEN, 1.0,
              MetricName.REWARDS_REJECTED, 1.0,
              MetricName.REWARDS_MARGINS, 1.0,
              MetricName.LOGITS_CHOSEN, 1.0,
              MetricName.LOGITS_REJECTED, 1.0));

  private static final Map<String, Map<String, Double>> WORST = new TreeMap<>();

  @TempDir Path temp;

  @TestFactory
  Stream<DynamicTest> runs() throws IOException {
    try (Stream<Path> models = Files.list(GOLDENS)) {
      List<DynamicTest> tests = new ArrayList<>();
      for (Path model : models.filter(path -> name(path).startsWith("tiny-")).sorted().toList()) {
        try (Stream<Path> cases = Files.list(model)) {
          for (Path run : cases.filter(Files::isDirectory).sorted().toList()) {
            if (!OTHER.contains(name(run))) {
              String label = name(model) + "/" + name(run);
              tests.add(DynamicTest.dynamicTest(label, () -> compare(run, label)));
            }
          }
        }
      }
      assertTrue(tests.size() > 100, "golden runs found: " + tests.size());
      return tests.stream();
    }
  }

  private void compare(Path run, String label) throws IOException {
    JsonNode arguments = read(run.resolve("run.json")).get("args");
    List<StepMetrics> steps = new ArrayList<>();
    MetricsListener collect =
        new MetricsListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            steps.add(metrics);
          }
        };
    Map<String, Double> worst = new TreeMap<>();
    WORST.put(label, worst);
    Path output = temp.resolve(label.replace('/', '-'));
    DpoConfig config = GoldenConfigs.of(arguments, GOLDENS, output);
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of(collect))) {
      trainer.train();
      compareMetrics(run, steps, worst);
      compareWeights(run, trainer, worst);
    }
    if (Files.exists(run.resolve("step0.safetensors"))) {
      DpoConfig one = GoldenConfigs.builder(arguments, GOLDENS, output).maxSteps(1).build();
      try (DpoTrainer trainer = DpoTrainer.create(one, List.of())) {
        trainer.train();
        compareGradients(run, trainer, worst);
      }
    }
    for (var entry : worst.entrySet()) {
      double tolerance = entry.getKey().startsWith("step 1") ? TOLERANCE_FIRST_STEP : TOLERANCE;
      assertTrue(
          entry.getValue() <= tolerance,
          () -> "%s: %s differs by %.2e".formatted(label, entry.getKey(), entry.getValue()));
    }
  }

  private static void compareMetrics(Path run, List<StepMetrics> steps, Map<String, Double> worst)
      throws IOException {
    List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl"));
    assertEquals(lines.size(), steps.size(), "optimizer steps");
    for (int i = 0; i < lines.size(); i++) {
      JsonNode golden = JSON.readTree(lines.get(i));
      StepMetrics step = steps.get(i);
      for (Map.Entry<MetricName, Double> entry : step.values().entrySet()) {
        MetricName name = entry.getKey();
        double expected = golden.required(name.toString()).asDouble();
        double scale = Math.max(Math.abs(expected), SCALES.getOrDefault(name, 1e-12));
        double difference = Math.abs(entry.getValue() - expected) / scale;
        String column = name.toString().replaceAll("/(chosen|rejected|margins)", "");
        worst.merge(column, difference, Math::max);
        if (i == 0) {
          worst.merge("step 1 " + column, difference, Math::max);
        }
      }
    }
  }

  private static void compareWeights(Path run, DpoTrainer trainer, Map<String, Double> worst)
      throws IOException {
    JsonNode after = read(run.resolve("param_sums.json")).get("after");
    for (Parameter parameter : trainer.policy().parameters().layout().parameters()) {
      float[] values =
          trainer.backend().downloadF32(trainer.policy().parameters().get(parameter.name()));
      JsonNode golden = after.required(parameter.name());
      double l2 = 0;
      for (float value : values) {
        l2 += (double) value * value;
      }
      double expected = golden.get("l2").asDouble();
      worst.merge("weights", Math.abs(Math.sqrt(l2) - expected) / expected, Math::max);
    }
    Path file = run.resolve("final.safetensors");
    if (Files.exists(file)) {
      try (SafetensorsFile weights = SafetensorsFile.open(file)) {
        for (Parameter parameter : trainer.policy().parameters().layout().parameters()) {
          double difference =
              relativeDistance(
                  trainer
                      .backend()
                      .downloadF32(trainer.policy().parameters().get(parameter.name())),
                  floats(weights, parameter.name()));
          worst.merge("weights", difference, Math::max);
        }
      }
    }
  }

  private static void compareGradients(Path run, DpoTrainer trainer, Map<String, Double> worst) {
    try (SafetensorsFile step0 = SafetensorsFile.open(run.resolve("step0.safetensors"))) {
      for (Parameter parameter : trainer.policy().parameters().layout().parameters()) {
        double difference =
            relativeDistance(
                trainer
                    .backend()
                    .downloadF32(trainer.policy().gradientSlab().get(parameter.name())),
                floats(step0, "grad." + parameter.name()));
        worst.merge("gradients", difference, Math::max);
      }
    }
  }

  /** |actual - expected| / |expected| in the Euclidean norm. */
  private static double relativeDistance(float[] actual, float[] expected) {
    assertEquals(expected.length, actual.length);
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < actual.length; i++) {
      difference += Math.pow((double) actual[i] - expected[i], 2);
      norm += (double) expected[i] * expected[i];
    }
    return Math.sqrt(difference / norm);
  }

  private static float[] floats(SafetensorsFile file, String name) {
    return file.tensor(name)
        .data()
        .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN));
  }

  private static JsonNode read(Path file) {
    try {
      return JSON.readTree(Files.readString(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String name(Path path) {
    return path.getFileName().toString();
  }

  @AfterAll
  static void writeTable() throws IOException {
    Set<String> columns = new java.util.TreeSet<>();
    WORST.values().forEach(row -> columns.addAll(row.keySet()));
    StringBuilder table = new StringBuilder("| run |");
    columns.forEach(column -> table.append(' ').append(column).append(" |"));
    table.append("\n|---|").append("---|".repeat(columns.size())).append('\n');
    WORST.forEach(
        (run, row) -> {
          table.append("| ").append(run).append(" |");
          for (String column : columns) {
            Double value = row.get(column);
            table.append(value == null ? " |" : String.format(Locale.ROOT, " %.1e |", value));
          }
          table.append('\n');
        });
    Files.writeString(Path.of("target/parity.md"), table.toString(), StandardCharsets.UTF_8);
  }
}
