package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CudaBackend;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.memory.Allocations;
import dev.gatun.model.Parameter;
import dev.gatun.model.ParameterLayout;
import dev.gatun.tensor.DType;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** A plan is what a run allocates, to the byte, on the CPU and on the emulated GPU. */
class DpoPlanTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");
  private static final Device CUDA = new Device(Device.Type.CUDA, 0);

  @TempDir private Path temp;

  /** Runs that differ in what they allocate. */
  private enum Variant {
    PLAIN(builder -> builder),
    CHECKPOINTS(DpoConfig.Builder::gradientCheckpointing),
    PRECOMPUTED(DpoConfig.Builder::precomputeRefLogProbs),
    ANOTHER_REFERENCE(
        builder -> builder.refModelNameOrPath(GOLDENS.resolve("models/tiny-llama-rope3"))),
    NO_REFERENCE(DpoConfig.Builder::referenceFree),
    MASTERS(TrainingBuilder::bf16),
    AUTO(builder -> builder.dtype(PrecisionChoice.AUTO)),
    EIGHT_BITS(builder -> builder.bf16().optim(OptimizerType.ADAMW_8BIT).bf16StochasticRound()),
    MOMENTUM(builder -> builder.optim(OptimizerType.SGD).momentum(0.9)),
    WEIGHTED(builder -> builder.useWeighting()),
    SHORT_PACKS(builder -> builder.maxTokensPerPack(200));

    private final UnaryOperator<DpoConfig.Builder> change;

    Variant(UnaryOperator<DpoConfig.Builder> change) {
      this.change = change;
    }
  }

  static Stream<Arguments> runs() {
    return Stream.concat(
        Arrays.stream(Variant.values()).map(variant -> Arguments.of("tiny-llama", variant)),
        Stream.of("tiny-qwen3", "tiny-gemma2", "tiny-gpt2")
            .map(model -> Arguments.of(model, Variant.PLAIN)));
  }

  private DpoConfig config(String model, Variant variant, Device device) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(GOLDENS.resolve("models").resolve(model))
            .datasetName(GOLDENS.resolve("data/parity.standard.jsonl"))
            .outputDir(temp.resolve("out"))
            .dtype(PrecisionChoice.FLOAT32)
            .overwriteOutputDir()
            .device(device)
            .perDeviceTrainBatchSize(3)
            .gradientAccumulationSteps(2)
            .maxSteps(2);
    if (device.type() == Device.Type.CPU) {
      builder.threads(1);
    }
    return variant.change.apply(builder).build();
  }

  private static PlanConfig plan(DpoConfig config, OptionalLong deviceBytes) {
    int computeCapability =
        config.run().device().type() == Device.Type.CPU
            ? 90
            : CudaBackend.devices(null).getFirst().computeCapability();
    return new PlanConfig(
        config,
        new BenchmarkModel.Directory(config.model().modelNameOrPath()),
        null,
        computeCapability,
        deviceBytes);
  }

  @ParameterizedTest
  @MethodSource("runs")
  void aRunOnTheCpuAllocatesWhatIsPlanned(String model, Variant variant) {
    compare(config(model, variant, Device.CPU));
  }

  @ParameterizedTest
  @MethodSource("runs")
  void aRunOnAGpuAllocatesWhatIsPlanned(String model, Variant variant) {
    compare(config(model, variant, CUDA));
  }

  private static void compare(DpoConfig config) {
    MemoryPlan plan = DpoPlan.of(plan(config, OptionalLong.empty())).memory();
    long before = Allocations.liveBytes();
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of())) {
      long allocated = Allocations.liveBytes() - before;
      assertEquals(plan.totalBytes(), allocated, () -> plan + " " + Allocations.live());
      assertTrue(
          trainer.plan().notes().contains(plan.describe()),
          () -> trainer.plan().notes().toString());
      Allocations.resetPeak();
      trainer.train();
      // Nothing that comes later, not the longest pack and not the last save, needs more. To time
      // algorithms of a product that adds, CUDA tries them on a copy, and does without if it has
      // to.
      long largest = 0;
      if (config.run().device().type() == Device.Type.CUDA) {
        for (Parameter parameter : ParameterLayout.of(trainer.policy().config()).parameters()) {
          largest = Math.max(largest, parameter.elementCount() * DType.F32.sizeBytes());
        }
      }
      long most = largest;
      long more = Allocations.peakBytes() - before - allocated;
      assertTrue(more >= 0 && more <= most, () -> more + " bytes more");
    }
    assertEquals(before, Allocations.liveBytes());
  }

  /** The class of each buffer: what a user reads is what is there. */
  @Test
  void classesAreThoseOfTheBuffers() {
    DpoConfig config = config("tiny-llama", Variant.MASTERS, Device.CPU);
    MemoryPlan plan = DpoPlan.of(plan(config, OptionalLong.empty())).memory();
    List<Allocations.Allocation> before = Allocations.live();
    try (DpoTrainer trainer = DpoTrainer.create(config, List.of())) {
      assertNotNull(trainer);
      var classes =
          Allocations.live().stream()
              .filter(buffer -> !before.contains(buffer))
              .collect(
                  Collectors.groupingBy(
                      buffer ->
                          switch (buffer.name()) {
                            case "policy", "gradients", "reference" -> buffer.name();
                            case "step", "step results" -> "step";
                            case "workspace", "rope" -> "workspace";
                            default -> "optimizer";
                          },
                      Collectors.summingLong(Allocations.Allocation::sizeBytes)));
      for (String name : List.of("policy", "gradients", "reference", "optimizer", "workspace")) {
        assertEquals(size(plan, name), classes.get(name), name);
      }
      assertEquals(
          size(plan, "activations") + size(plan, "logits") + size(plan, "batch"),
          classes.get("step"));
    }
  }

  private static long size(MemoryPlan plan, String name) {
    return plan.lines().stream()
        .filter(line -> line.name().equals(name))
        .mapToLong(MemoryPlan.Line::sizeBytes)
        .sum();
  }

  @Test
  void theLongestPacksThatFitAreFound() {
    DpoConfig config = config("tiny-llama", Variant.SHORT_PACKS, CUDA);
    long atLeast =
        DpoPlan.of(plan(config, OptionalLong.empty())).memory().totalBytes() + 100 * 1000;
    DpoPlan.Budget budget = DpoPlan.of(plan(config, OptionalLong.of(atLeast))).budget();
    assertNotNull(budget);
    assertTrue(budget.maxTokensPerPack() >= 200, budget::toString);
    assertTrue(budget.memory().totalBytes() <= atLeast, budget::toString);
    assertTrue(total(config, budget.maxTokensPerPack()) <= atLeast);
    assertTrue(total(config, budget.maxTokensPerPack() + 1) > atLeast);

    DpoPlan.Budget none = DpoPlan.of(plan(config, OptionalLong.of(1000))).budget();
    assertNotNull(none);
    assertEquals(0, none.maxTokensPerPack());
  }

  private long total(DpoConfig config, int maxTokens) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(config.model().modelNameOrPath())
            .datasetName(config.data().datasetName())
            .outputDir(temp)
            .dtype(PrecisionChoice.FLOAT32)
            .device(CUDA)
            .perDeviceTrainBatchSize(3)
            .gradientAccumulationSteps(2)
            .maxSteps(2)
            .maxTokensPerPack(maxTokens);
    return DpoPlan.of(plan(builder.build(), OptionalLong.empty())).memory().totalBytes();
  }

  /** Lengths instead of data: the plan of a dataset of such pairs. */
  @Test
  void aShapeIsPlannedWithoutFiles() {
    DpoConfig training =
        DpoConfig.builder()
            .modelNameOrPath(temp)
            .datasetName(temp)
            .outputDir(temp)
            .device(CUDA)
            .bf16()
            .perDeviceTrainBatchSize(7)
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .build();
    PlanConfig plan =
        new PlanConfig(
            training,
            BenchmarkModel.Shape.of("shape", "llama-2-7b"),
            new PlanConfig.Lengths(256, 192),
            90,
            OptionalLong.of(200L << 30));
    DpoPlan found = DpoPlan.of(plan);
    assertEquals(6_738_415_616L, found.parameters());
    assertEquals(7 * 640, found.largest().tokens());
    // The last prompt token, and all answer tokens but the last of each.
    assertEquals(7 * (1 + 2 * 191), found.largest().rows());
    assertEquals(2 * 6_738_415_616L, size(found.memory(), "policy"));
    assertEquals(4 * 6_738_415_616L, size(found.memory(), "gradients"));
    DpoPlan.Budget budget = found.budget();
    assertNotNull(budget);
    assertEquals(0, budget.maxTokensPerPack() % 640);
    assertTrue(budget.memory().totalBytes() <= 200L << 30);
    assertThrows(
        ConfigException.class,
        () ->
            new PlanConfig(
                training,
                BenchmarkModel.Shape.of("shape", "tiny"),
                null,
                90,
                OptionalLong.empty()));
  }
}
