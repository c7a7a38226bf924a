package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.Numerics;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.hf.FormatException;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.StepMetrics;
import dev.gatun.store.ReferenceStore;
import dev.gatun.store.StoreException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Runs that share a reference store: what they find there, and that it changes nothing else. */
class ReferenceStoreRunsTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");
  private static final String NO_FORWARD = "nothing is scored and no weights are kept";

  private static final Pattern KNOWN =
      Pattern.compile("reference store: .*, (\\d+) of \\d+ rows known");

  @TempDir Path temp;

  private record Run(List<String> notes, float[] weights, List<Double> losses) {
    /** Rows that the store had when the run began. */
    int known() {
      for (String line : notes) {
        Matcher matcher = KNOWN.matcher(line);
        if (matcher.matches()) {
          return Integer.parseInt(matcher.group(1));
        }
      }
      throw new AssertionError(notes.toString());
    }

    boolean scores() {
      return notes.stream().noneMatch(line -> line.contains(NO_FORWARD));
    }
  }

  private Path store() {
    return temp.resolve("store");
  }

  private Path model(String name) {
    return GOLDENS.resolve("models").resolve(name);
  }

  private DpoConfig.Builder builder() {
    return DpoConfig.builder()
        .modelNameOrPath(model("tiny-llama"))
        .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
        .outputDir(temp.resolve("out"))
        .dtype(PrecisionChoice.FLOAT32)
        .overwriteOutputDir()
        .device(Device.CPU)
        .threads(1)
        .referenceStore(ReferenceStoreFolder.of(store()))
        .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
        .perDeviceTrainBatchSize(4)
        .learningRate(1e-3)
        .maxSteps(4);
  }

  private Run train(UnaryOperator<DpoConfig.Builder> change) {
    List<Double> losses = new ArrayList<>();
    MetricsListener collect =
        new MetricsListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            losses.add(metrics.value(MetricName.LOSS));
          }
        };
    try (DpoTrainer trainer =
        DpoTrainer.create(change.apply(builder()).build(), List.of(collect))) {
      trainer.train();
      return new Run(
          trainer.plan().notes(),
          trainer.backend().downloadF32(trainer.policy().parameters().all()),
          losses);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "tiny-llama, false",
    "tiny-llama, true",
    "tiny-gemma2, true",
    "tiny-llama-bf16, true"
  })
  void theSecondRunScoresNothingAndTrainsTheSame(String name, boolean precompute) {
    UnaryOperator<DpoConfig.Builder> options =
        builder -> {
          builder.modelNameOrPath(model(name));
          return precompute ? builder.precomputeRefLogProbs() : builder;
        };
    Run without =
        train(builder -> options.apply(builder).referenceStore(ReferenceStoreFolder.NONE));
    Run first = train(options);
    Run second = train(options);
    assertEquals(0, first.known());
    assertTrue(first.scores());
    assertEquals(16, second.known());
    assertFalse(second.scores());
    assertEquals(without.losses(), first.losses());
    assertEquals(without.losses(), second.losses());
    assertArrayEquals(without.weights(), first.weights());
    assertArrayEquals(without.weights(), second.weights());
    // The memory plan of the resident mode has no reference any more.
    assertEquals(
        !precompute,
        first.notes().stream().anyMatch(line -> line.matches("memory:.* reference .*")));
    assertFalse(second.notes().stream().anyMatch(line -> line.matches("memory:.* reference .*")));
  }

  @Test
  void learningRateLossEpochsAndThreadsShare() {
    Run first = train(builder -> builder);
    for (UnaryOperator<DpoConfig.Builder> change :
        List.<UnaryOperator<DpoConfig.Builder>>of(
            builder -> builder.learningRate(1e-5),
            builder -> builder.lossType(LossType.IPO).beta(0.3),
            builder -> builder.lossType(LossType.HINGE, LossType.SFT).threads(2),
            builder -> builder.gradientCheckpointing(),
            builder -> builder.optim(OptimizerType.SGD))) {
      Run other = train(change);
      assertEquals(16, other.known());
      assertFalse(other.scores());
    }
    assertEquals(0, first.known());
  }

  /** Rows of enough tokens have the same bits in every pack, where the backend says so. */
  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-gpt2", "tiny-llama-bf16"})
  void orderAndPacksShare(String name) {
    Precision precision = name.endsWith("bf16") ? Precision.BFLOAT16 : Precision.FLOAT32;
    PrecisionChoice dtype = choice(precision);
    boolean independent;
    try (Backend backend = CpuBackend.create(new CpuOptions(1, null))) {
      independent =
          backend.numerics(Policy.dtype(precision)).independentRows() != Numerics.DEPENDENT;
    }
    assertTrue(independent || precision == Precision.BFLOAT16);
    train(
        builder ->
            builder.modelNameOrPath(model(name)).dtype(dtype).maxSteps(-1).numTrainEpochs(1));
    for (UnaryOperator<DpoConfig.Builder> change :
        List.<UnaryOperator<DpoConfig.Builder>>of(
            builder -> builder.trainSamplingStrategy(SamplingStrategy.RANDOM).seed(7),
            builder -> builder.perDeviceTrainBatchSize(3),
            builder -> builder.maxTokensPerPack(1))) {
      // The first step's exact check is part of this: stored scores are the policy's own bits.
      UnaryOperator<DpoConfig.Builder> options =
          builder -> change.apply(builder.modelNameOrPath(model(name)).dtype(dtype));
      Run stored = train(options);
      Run fresh =
          train(builder -> options.apply(builder).referenceStore(ReferenceStoreFolder.NONE));
      if (precision == Precision.FLOAT32) {
        assertFalse(stored.scores(), stored.notes().toString());
      } else if (independent) {
        // But the few rows that have too few tokens for that.
        assertTrue(stored.known() > 8, stored.notes().toString());
      }
      assertEquals(fresh.losses(), stored.losses());
      assertArrayEquals(fresh.weights(), stored.weights());
    }
  }

  /** What a precision is known by is the precision, not how a run came to it. */
  @Test
  void autoSharesWithWhatItComesTo() {
    Precision resolved;
    try (Backend backend = CpuBackend.create(new CpuOptions(1, null))) {
      resolved = PrecisionChoice.AUTO.on(backend).precision();
    }
    Precision other = resolved == Precision.FLOAT32 ? Precision.BFLOAT16 : Precision.FLOAT32;
    assertEquals(0, train(builder -> builder.dtype(PrecisionChoice.AUTO)).known());
    assertEquals(16, train(builder -> builder.dtype(PrecisionChoice.AUTO)).known());
    assertEquals(16, train(builder -> builder.dtype(choice(resolved))).known());
    assertEquals(0, train(builder -> builder.dtype(choice(other))).known());
  }

  private static PrecisionChoice choice(Precision precision) {
    return PrecisionChoice.fromName(precision.toString());
  }

  /**
   * A model of f32 files in bf16: {@code gatun score} reads the reference by itself, and a run that
   * starts from it splits exact masters, which must round alike. tiny-llama has weights half-way
   * between two bf16 values.
   */
  @ParameterizedTest
  @ValueSource(strings = {"exact", "stochastic"})
  void scoresMadeAloneAreTheRunsOwnInBf16(String steps) {
    UnaryOperator<DpoConfig.Builder> options =
        builder -> steps.equals("exact") ? builder.bf16() : builder.bf16().bf16StochasticRound();
    try (ReferenceScoring scoring = ReferenceScoring.open(options.apply(builder()).build())) {
      assertEquals(16, scoring.score().size());
    }
    Run stored = train(options);
    assertEquals(16, stored.known());
    Run fresh = train(builder -> options.apply(builder).referenceStore(ReferenceStoreFolder.NONE));
    assertEquals(fresh.losses(), stored.losses());
    assertArrayEquals(fresh.weights(), stored.weights());
    // A reference that is named, and happens to be the start, is the start too: ln 2 of margin 0.
    Run named = train(b -> options.apply(b).refModelNameOrPath(model("tiny-llama")));
    assertEquals(fresh.losses(), named.losses());
    Run alone =
        train(
            b ->
                options
                    .apply(b)
                    .refModelNameOrPath(model("tiny-llama"))
                    .referenceStore(ReferenceStoreFolder.NONE));
    assertEquals(fresh.losses(), alone.losses());
  }

  @Test
  void newRowsAloneAreScored() throws IOException {
    List<String> lines = Files.readAllLines(GOLDENS.resolve("data/parity.standard.jsonl"));
    Path some = Files.write(temp.resolve("some.jsonl"), lines.subList(0, 8));
    Path more = Files.write(temp.resolve("more.jsonl"), lines.subList(0, 12));
    train(builder -> builder.datasetName(some).maxSteps(2));
    Run second = train(builder -> builder.datasetName(more).maxSteps(3));
    assertEquals(8, second.known());
    assertTrue(second.scores());
    assertEquals(12, train(builder -> builder.datasetName(more).maxSteps(3)).known());
  }

  @Test
  void otherWeightsPrecisionConfigurationOrTokensAreNotFound() throws IOException {
    train(builder -> builder);
    assertEquals(0, train(builder -> builder.modelNameOrPath(copy("changed", 1))).known());
    assertEquals(0, train(builder -> builder.bf16()).known());
    assertEquals(0, train(builder -> builder.modelNameOrPath(model("tiny-mistral"))).known());
    // Cut at 24 tokens some rows are others, and the rest are found.
    int known = train(builder -> builder.maxLength(24)).known();
    assertTrue(known < 16, known + " rows known");

    Path epsilon = copy("epsilon", 0);
    Path config = epsilon.resolve("config.json");
    String text = Files.readString(config);
    String changed = text.replaceFirst("(\"rms_norm_eps\": *)[0-9.e-]+", "$11e-4");
    assertFalse(text.equals(changed));
    Files.writeString(config, changed);
    assertEquals(0, train(builder -> builder.modelNameOrPath(epsilon)).known());

    // The same content in another place is the same model.
    assertEquals(16, train(builder -> builder.modelNameOrPath(copy("same", 0))).known());
  }

  /** A copy of the model in which {@code flips} bits of the weights differ. */
  private Path copy(String name, int flips) {
    try {
      Path copy = Files.createDirectories(temp.resolve(name));
      try (Stream<Path> files = Files.list(model("tiny-llama"))) {
        for (Path file : files.toList()) {
          Files.copy(file, copy.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
        }
      }
      Path weights = copy.resolve("model.safetensors");
      byte[] bytes = Files.readAllBytes(weights);
      for (int i = 0; i < flips; i++) {
        bytes[bytes.length - 4 - 400 * i] ^= 1;
      }
      Files.write(weights, bytes);
      return copy;
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void anotherModelIsNotLoadedWhenAllIsKnown(boolean precompute) throws IOException {
    Path other = copy("other", 3);
    UnaryOperator<DpoConfig.Builder> options =
        builder -> {
          builder.refModelNameOrPath(other);
          return precompute ? builder.precomputeRefLogProbs() : builder;
        };
    Run first = train(options);
    Run second = train(options);
    assertTrue(first.notes().stream().anyMatch(line -> line.matches("memory:.* reference .*")));
    assertFalse(second.notes().stream().anyMatch(line -> line.matches("memory:.* reference .*")));
    assertFalse(second.scores());
    assertEquals(first.losses(), second.losses());
    assertArrayEquals(first.weights(), second.weights());
    // Where that model is the start, its scores are known too.
    assertEquals(16, train(builder -> builder.modelNameOrPath(other)).known());
  }

  @Test
  void aNamedFolderThatCannotBeUsedStopsTheRun() throws IOException {
    Path file = Files.writeString(temp.resolve("file"), "");
    StoreException refused =
        assertThrows(
            StoreException.class,
            () ->
                train(
                    builder ->
                        builder.referenceStore(ReferenceStoreFolder.of(file.resolve("store")))));
    assertTrue(String.valueOf(refused.getMessage()).contains("reference_store"));
  }

  @Test
  void aStoreThatNothingReadsIsRefused() {
    for (UnaryOperator<DpoConfig.Builder> change :
        List.<UnaryOperator<DpoConfig.Builder>>of(
            builder -> builder.syncRefModel().refModelSyncSteps(2),
            builder -> builder.referenceFree(),
            builder -> builder.lossType(LossType.SIMPO))) {
      ConfigException refused = assertThrows(ConfigException.class, () -> train(change));
      assertEquals("reference_store", refused.option());
    }
  }

  @Test
  void theEmulatedGpuSharesBetweenRunsThatPackAlike() {
    UnaryOperator<DpoConfig.Builder> gpu =
        builder ->
            builder
                .device(Device.fromName("cuda"))
                .threads(0)
                .perDeviceTrainBatchSize(2)
                .maxSteps(1);
    Run first = train(gpu);
    assertEquals(0, first.known());
    Run second = train(gpu);
    assertEquals(first.losses(), second.losses());
    // Whether choices of algorithms were kept on this machine decides whether scores are found.
    assertTrue(second.known() == 2 || second.known() == 0);
    Run other = train(builder -> gpu.apply(builder).perDeviceTrainBatchSize(1));
    assertEquals(0, other.known());
    try (ReferenceStore store = ReferenceStore.open(store())) {
      assertEquals(0, store.damaged());
    }
  }

  @Test
  void aRunThatCannotBeginClosesTheStore() throws IOException {
    Path broken = Files.createDirectory(temp.resolve("broken"));
    try (Stream<Path> files = Files.list(model("tiny-llama"))) {
      for (Path file : files.toList()) {
        Files.copy(file, broken.resolve(file.getFileName()));
      }
    }
    Path config = broken.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replaceAll("\"num_hidden_layers\": *\\d+", "\"num_hidden_layers\": 9"));
    FormatException missing =
        assertThrows(
            FormatException.class, () -> train(builder -> builder.modelNameOrPath(broken)));
    assertTrue(missing.getMessage().contains("layers."), missing.getMessage());
    assertFalse(isOpen(store().resolve("data.mdb")));
  }

  private static boolean isOpen(Path file) throws IOException {
    try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
      Path real = file.toRealPath();
      for (Path descriptor : descriptors.toList()) {
        if (Files.isSymbolicLink(descriptor) && Files.readSymbolicLink(descriptor).equals(real)) {
          return true;
        }
      }
      return false;
    }
  }
}
