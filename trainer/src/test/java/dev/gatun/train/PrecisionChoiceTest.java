package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What {@code dtype auto} comes to on each kind of device, and what a run then says. */
class PrecisionChoiceTest {
  private static final String WITHOUT =
      "float32 (auto: this CPU does not multiply bf16 in hardware)";
  private static final String WITH = "bfloat16 (auto: this CPU multiplies bf16 in hardware)";

  private static @Nullable Backend cpu(String isa) {
    try {
      return CpuBackend.create(new CpuOptions(1, isa));
    } catch (BackendUnavailableException e) {
      return null; // This machine lacks it.
    }
  }

  @Test
  void autoFollowsTheInstructionsOfTheKernels() {
    List<String> found = new ArrayList<>();
    for (String isa : List.of("generic", "v2", "v3", "v4", "v4-bf16")) {
      try (Backend backend = cpu(isa)) {
        if (backend != null) {
          String expected = isa.equals("v4-bf16") ? WITH : WITHOUT;
          assertEquals(expected, PrecisionChoice.AUTO.on(backend).toString(), isa);
          found.add(isa);
        }
      }
    }
    // Without a choice it is the best level that there is.
    try (CpuBackend best = CpuBackend.create(new CpuOptions(1, null))) {
      assertEquals(found.getLast(), best.isa());
    }
  }

  @Test
  void autoIsBfloat16OnEveryGpu() {
    try (Backend backend = Device.fromName("cuda").open(DeviceOptions.DEFAULT).backend()) {
      assertEquals(
          "bfloat16 (auto: this GPU multiplies bf16 in hardware)",
          PrecisionChoice.AUTO.on(backend).toString());
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = PrecisionChoice.class,
      names = {"FLOAT32", "BFLOAT16"})
  void aNamedTypeNeedsNoReason(PrecisionChoice choice) {
    try (Backend backend = CpuBackend.create(CpuOptions.DEFAULT)) {
      assertEquals(choice.toString(), choice.on(backend).toString());
    }
  }

  private static OptimizerConfig optimizer(DpoConfig.Builder builder) {
    return builder
        .modelNameOrPath(Path.of("model"))
        .datasetName(Path.of("pairs.jsonl"))
        .outputDir(Path.of("out"))
        .build()
        .optimizer();
  }

  @Test
  void aRunSaysWhereSmallUpdatesGo() {
    OptimizerConfig masters = optimizer(DpoConfig.builder());
    OptimizerConfig rounded = optimizer(DpoConfig.builder().bf16StochasticRound());
    ResolvedPrecision bfloat16 = new ResolvedPrecision(Precision.BFLOAT16, "auto: a reason");
    assertEquals(
        "dtype: bfloat16 (auto: a reason), exact float32 masters",
        TrainingSetup.describe(bfloat16, masters));
    assertEquals(
        "dtype: bfloat16 (auto: a reason), rounded at random, no masters",
        TrainingSetup.describe(bfloat16, rounded));
    assertEquals(
        "dtype: float32",
        TrainingSetup.describe(new ResolvedPrecision(Precision.FLOAT32, ""), masters));
  }

  @Test
  void roundingThatAutoLeavesNothingToIsRefusedWithTheReason() {
    OptimizerConfig rounded = optimizer(DpoConfig.builder().bf16StochasticRound());
    // A level that every processor of its kind has.
    String isa = System.getProperty("os.arch").equals("amd64") ? "v2" : "generic";
    try (Backend backend = CpuBackend.create(new CpuOptions(1, isa))) {
      ConfigException error =
          assertThrows(
              ConfigException.class,
              () -> TrainingSetup.precision(PrecisionChoice.AUTO, rounded, backend));
      assertEquals(
          "bf16_stochastic_round: has no effect here: weights are "
              + WITHOUT
              + ", which are not rounded; add bf16 or remove it",
          error.getMessage());
      assertEquals(
          Precision.BFLOAT16,
          TrainingSetup.precision(PrecisionChoice.BFLOAT16, rounded, backend).precision());
    }
  }
}
