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
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every recorded TRL run, trained again: metrics of all steps, gradients of the first, weights
 * after the last. The table of worst differences goes to {@code target/parity.md}.
 */
@Tag("gpu")
class GoldenRunsTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");

  /**
   * Relative difference that is allowed in f32 over 20 steps at learning rate 1e-3, and at step 1.
   * Two correct implementations (sdpa and eager attention) differ by 3e-6 there.
   */
  private static final double TOLERANCE = 1e-5;

  private static final double TOLERANCE_FIRST_STEP = 1e-6;

  /**
   * What TRL differs from itself by where that is more: the same runs with another attention kernel
   * ({@code benchmarks/peers/measure_noise.py}). Some cases amplify rounding (discopop divides by a
   * temperature of 0.05), and the gradient of a key bias is nearly zero by the symmetry of softmax,
   * so that AdamW turns its rounding into steps. Two correct implementations are as far from each
   * other as either is from the truth, each in its own direction; hence a factor.
   */
  private static final JsonNode NOISE = read(GOLDENS.resolve("noise.json"));

  private static final double NOISE_FACTOR = 4;

  /**
   * For key biases, {@code NOISE_FACTOR} times the worst of TRL's own: tiny-gpt2/sigmoid, 2.5e-3.
   */
  private static final double KEY_BIAS_TOLERANCE = 1e-2;

  /**
   * For other weights on CUDA, {@code NOISE_FACTOR} times the worst of TRL's own:
   * tiny-llama/sigmoid, 1.01e-5.
   */
  private static final double CUDA_WEIGHTS_TOLERANCE = 4e-5;

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

  /**
   * Where all runs are trained: on CUDA if {@code gatun.test.backend} says so (what that is, {@code
   * gatun.cuda} says), else on the CPU.
   */
  private static final Device DEVICE =
      Device.fromName(System.getProperty("gatun.test.backend", "cpu"));

  private static final Device CUDA = Device.fromName("cuda");

  /**
   * What the emulated GPU trains in every build: each family, and losses that differ in kernels.
   */
  private static final String EMULATED = "[^/]+/sigmoid|tiny-llama/(aot|ipo|discopop)";

  @TempDir Path temp;

  @TestFactory
  Stream<DynamicTest> runs() throws IOException {
    List<DynamicTest> tests = runs(".*", DEVICE);
    assertTrue(tests.size() > 100, "golden runs found: " + tests.size());
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> runsOnTheEmulatedGpu() throws IOException {
    Assumptions.assumeTrue(DEVICE.type() == Device.Type.CPU, "all runs are on CUDA already");
    List<DynamicTest> tests = runs(EMULATED, CUDA);
    assertTrue(tests.size() >= 8, "golden runs found: " + tests.size());
    return tests.stream();
  }

  private List<DynamicTest> runs(String labels, Device device) throws IOException {
    try (Stream<Path> models = Files.list(GOLDENS)) {
      List<DynamicTest> tests = new ArrayList<>();
      for (Path model : models.filter(path -> name(path).startsWith("tiny-")).sorted().toList()) {
        try (Stream<Path> cases = Files.list(model)) {
          for (Path run : cases.filter(Files::isDirectory).sorted().toList()) {
            String label = name(model) + "/" + name(run);
            if (!OTHER.contains(name(run)) && label.matches(labels)) {
              tests.add(DynamicTest.dynamicTest(label, () -> compare(run, label, device)));
            }
          }
        }
      }
      return tests;
    }
  }

  private static final List<String> LOW_PRECISION =
      List.of("tiny-llama/amp", "tiny-llama/bf16", "tiny-qwen2/amp", "tiny-qwen2/bf16");

  static List<String> lowPrecisionRuns() {
    return LOW_PRECISION;
  }

  /**
   * The recorded runs in low precision, on two models: their losses leave the f32 run's by
   * rounding, and ours may leave it by no more than twice as much at the worst step. Each recorded
   * run is one draw of that noise, and processors sum in different orders, so it is the larger of
   * the two models' that counts.
   */
  @ParameterizedTest
  @MethodSource("lowPrecisionRuns")
  void lowPrecisionStaysWithinItsNoise(String run) throws IOException {
    double noise = 0;
    Path folder = GOLDENS.resolve(run);
    for (String other : LOW_PRECISION) {
      Path recorded = GOLDENS.resolve(other);
      if (recorded.getFileName().equals(folder.getFileName())) {
        noise =
            Math.max(
                noise, difference(losses(recorded), losses(recorded.resolveSibling("sigmoid"))));
      }
    }
    List<StepMetrics> steps = new ArrayList<>();
    JsonNode arguments = read(folder.resolve("run.json")).get("args");
    DpoConfig config = GoldenConfigs.of(arguments, GOLDENS, temp.resolve("low"), DEVICE);
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of(collecting(steps)))) {
      trainer.train();
    }
    double difference =
        difference(
            steps.stream().map(step -> step.value(MetricName.LOSS)).toList(),
            losses(folder.resolveSibling("sigmoid")));
    assertTrue(
        difference <= 2 * noise,
        "loss differs by %.2e, TRL's by %.2e".formatted(difference, noise));
    WORST.computeIfAbsent(run, _ -> new TreeMap<>()).put("loss", difference);
  }

  /** Largest relative difference. */
  private static double difference(List<Double> losses, List<Double> exact) {
    double difference = 0;
    for (int i = 0; i < losses.size(); i++) {
      difference = Math.max(difference, Math.abs(losses.get(i) - exact.get(i)) / exact.get(i));
    }
    return difference;
  }

  private static List<Double> losses(Path run) throws IOException {
    List<Double> losses = new ArrayList<>();
    for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
      losses.add(JSON.readTree(line).get("loss").asDouble());
    }
    return losses;
  }

  private static MetricsListener collecting(List<StepMetrics> steps) {
    return new MetricsListener() {
      @Override
      public void onStep(StepMetrics metrics) {
        steps.add(metrics);
      }
    };
  }

  private void compare(Path run, String label, Device device) throws IOException {
    JsonNode arguments = read(run.resolve("run.json")).get("args");
    List<StepMetrics> steps = new ArrayList<>();
    Map<String, Double> worst = new TreeMap<>();
    if (device.equals(DEVICE)) {
      WORST.put(label, worst);
    }
    Path output = temp.resolve(label.replace('/', '-'));
    DpoConfig config = GoldenConfigs.of(arguments, GOLDENS, output, device);
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of(collecting(steps)))) {
      trainer.train();
      compareMetrics(run, steps, worst);
      compareWeights(run, trainer, worst);
      if (device.type() == Device.Type.CUDA) {
        String summary = String.join("; ", trainer.backend().summary());
        assertTrue(summary.matches(".*replayed [1-9].*"), label + ": " + summary);
      }
    }
    if (Files.exists(run.resolve("step0.safetensors"))) {
      DpoConfig one = GoldenConfigs.builder(arguments, GOLDENS, output, device).maxSteps(1).build();
      try (DpoTrainer trainer = DpoTrainer.create(one, List.of())) {
        trainer.train();
        compareGradients(run, trainer, worst);
      }
    }
    JsonNode noise = NOISE.path(label);
    for (var entry : worst.entrySet()) {
      double tolerance =
          switch (entry.getKey()) {
            case String key when key.startsWith("step 1") ->
                Math.max(
                    TOLERANCE_FIRST_STEP,
                    device.type() == Device.Type.CUDA
                        ? NOISE_FACTOR * noise.path(key.substring("step 1 ".length())).asDouble()
                        : 0);
            case "weights" ->
                device.type() == Device.Type.CUDA ? CUDA_WEIGHTS_TOLERANCE : TOLERANCE;
            // Counts signs: a margin that is all rounding falls either way. Rewards are compared.
            case "rewards/accuracies" ->
                device.type() == Device.Type.CUDA ? Double.MAX_VALUE : TOLERANCE;
            case "key biases" -> KEY_BIAS_TOLERANCE;
            default -> Math.max(TOLERANCE, NOISE_FACTOR * noise.path(entry.getKey()).asDouble());
          };
      assertTrue(
          entry.getValue() <= tolerance,
          () ->
              "%s: %s differs by %.2e, tolerated %.2e"
                  .formatted(label, entry.getKey(), entry.getValue(), tolerance));
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
      worst.merge(
          weightColumn(parameter), Math.abs(Math.sqrt(l2) - expected) / expected, Math::max);
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
          worst.merge(weightColumn(parameter), difference, Math::max);
        }
      }
    }
  }

  private static String weightColumn(Parameter parameter) {
    boolean keyBias =
        parameter.name().endsWith("k_proj.bias") || parameter.name().endsWith("c_attn.bias");
    return keyBias ? "key biases" : "weights";
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
    return file.tensor(name).toFloats();
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
    Set<String> columns = new TreeSet<>();
    WORST.values().forEach(row -> columns.addAll(row.keySet()));
    columns.removeIf(column -> column.startsWith("step 1") && !column.equals("step 1 grad_norm"));
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
