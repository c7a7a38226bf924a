package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CudaOptions;
import dev.gatun.data.TruncationMode;
import dev.gatun.report.EffectiveConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class ConfigTest {
  private static DpoConfig.Builder dpo() {
    return DpoConfig.builder()
        .modelNameOrPath(Path.of("model"))
        .datasetName(Path.of("pairs.jsonl"))
        .outputDir(Path.of("out"));
  }

  private static DpoConfig dpo(Consumer<DpoConfig.Builder> options) {
    DpoConfig.Builder builder = dpo();
    options.accept(builder);
    return builder.build();
  }

  @Test
  void defaultsAreTrls() {
    DpoConfig config = dpo().build();
    assertEquals(List.of(LossType.SIGMOID), config.loss().lossType());
    assertEquals(0.1, config.loss().beta());
    assertEquals(1e-6, config.optimizer().learningRate());
    assertEquals(1, config.optimizer().maxGradNorm());
    assertEquals(8, config.run().perDeviceTrainBatchSize());
    assertEquals(1024, config.data().maxLength());
    assertEquals(2e-5, sft().build().optimizer().learningRate());
  }

  private static SftConfig.Builder sft() {
    return SftConfig.builder()
        .modelNameOrPath(Path.of("model"))
        .datasetName(Path.of("texts.jsonl"))
        .outputDir(Path.of("out"));
  }

  /** Options, the option that the error names, and the other option that it names. */
  static Stream<Arguments> withoutEffect() {
    return Stream.of(
        without("label_smoothing", "hinge", b -> b.lossType(LossType.HINGE).labelSmoothing(0.1)),
        without("label_smoothing", "simpo", b -> b.lossType(LossType.SIMPO).labelSmoothing(0.1)),
        without("label_smoothing", "exo_pair", b -> b.lossType(LossType.EXO_PAIR)),
        without("beta", "sft", b -> b.lossType(LossType.SFT).beta(0.2)),
        without("ld_alpha", "sft", b -> b.lossType(LossType.SFT).ldAlpha(0.5)),
        without("discopop_tau", "discopop", b -> b.discopopTau(0.1)),
        without("simpo_gamma", "simpo", b -> b.simpoGamma(1)),
        without(
            "f_divergence_type",
            "nca_pair",
            b -> b.lossType(LossType.NCA_PAIR).fDivergenceType(FDivergence.FORWARD_KL)),
        without(
            "f_divergence_type",
            "sft",
            b -> b.lossType(LossType.SFT).fDivergenceType(FDivergence.FORWARD_KL)),
        without("f_alpha_divergence_coef", "f_divergence_type", b -> b.fAlphaDivergenceCoef(0.3)),
        without("use_weighting", "aot", b -> b.lossType(LossType.AOT).useWeighting()),
        without("reference_free", "sft", b -> b.lossType(LossType.SFT).referenceFree()),
        without("reference_free", "simpo", b -> b.lossType(LossType.SIMPO).referenceFree()),
        without("ref_model_sync_steps", "sync_ref_model", b -> b.refModelSyncSteps(5)),
        without("ref_model_mixup_alpha", "sync_ref_model", b -> b.refModelMixupAlpha(0.5)),
        without(
            "precompute_ref_log_probs",
            "sync_ref_model",
            b -> b.syncRefModel().precomputeRefLogProbs()),
        without("sync_ref_model", "reference_free", b -> b.syncRefModel().referenceFree()),
        without("sync_ref_model", "sft", b -> b.lossType(LossType.SFT).syncRefModel()),
        without(
            "precompute_ref_log_probs",
            "reference_free",
            b -> b.precomputeRefLogProbs().referenceFree()),
        without(
            "precompute_ref_log_probs",
            "simpo",
            b -> b.lossType(LossType.SIMPO).precomputeRefLogProbs()),
        without(
            "ref_model_name_or_path",
            "reference_free",
            b -> b.refModelNameOrPath(Path.of("other")).referenceFree()),
        without(
            "ref_model_name_or_path",
            "simpo",
            b -> b.refModelNameOrPath(Path.of("other")).lossType(LossType.SIMPO)),
        without("ref_model_sync_steps", "max_steps", b -> b.syncRefModel().maxSteps(100)),
        without(
            "loss_type",
            "per_device_train_batch_size",
            b -> b.lossType(LossType.AOT).perDeviceTrainBatchSize(1)),
        without("loss_weights", "loss_type", b -> b.lossType(LossType.SIGMOID).lossWeights(two())),
        without("loss_type", "loss_weights", b -> b.lossType(LossType.SIGMOID, LossType.SIGMOID)),
        without("adam_beta2", "optim", b -> b.optim(OptimizerType.SGD).adamBeta2(0.9)),
        without("rmsprop_alpha", "optim", b -> b.rmspropAlpha(0.9)),
        without("momentum", "optim", b -> b.momentum(0.9)),
        without(
            "bf16_stochastic_round",
            "bf16",
            b -> b.dtype(PrecisionChoice.FLOAT32).bf16StochasticRound()),
        without("bf16_stochastic_round", "bf16", b -> b.noBf16().bf16StochasticRound()),
        without(
            "bf16_stochastic_round",
            "optim",
            b -> b.bf16().bf16StochasticRound().optim(OptimizerType.SGD)),
        without("warmup_ratio", "warmup_steps", b -> b.warmupSteps(5).warmupRatio(0.1)),
        without(
            "warmup_steps",
            "lr_scheduler_type",
            b -> b.lrSchedulerType(LearningRateSchedule.CONSTANT).warmupSteps(5)),
        without(
            "lr_scheduler_type",
            "warmup_steps",
            b -> b.lrSchedulerType(LearningRateSchedule.CONSTANT_WITH_WARMUP)),
        without("num_train_epochs", "max_steps", b -> b.maxSteps(5).numTrainEpochs(1)),
        without("logging_first_step", "logging_steps", b -> b.loggingSteps(1).loggingFirstStep()),
        without("save_steps", "save_strategy", b -> b.saveStrategy(SaveStrategy.NO).saveSteps(5)),
        without("threads", "device", b -> b.device(Device.fromName("cuda:1")).threads(2)),
        without("tf32", "device", b -> b.device(Device.CPU).tf32()),
        without("debug_sync", "device", b -> b.device(Device.CPU).debugSync()),
        without(
            "cuda_graphs", "device", b -> b.device(Device.CPU).cudaGraphs(CudaOptions.Graphs.ON)),
        without(
            "cuda_graphs",
            "debug_sync",
            b -> b.device(Device.fromName("cuda")).debugSync().cudaGraphs(CudaOptions.Graphs.ON)),
        without("cuda_home", "device", b -> b.device(Device.CPU).cudaHome(Path.of("cuda"))),
        without(
            "profile_steps",
            "device",
            b -> b.device(Device.CPU).profileSteps(new ProfileSteps(1, 2))),
        without(
            "truncation_mode",
            "max_length",
            b -> b.unlimitedLength().truncationMode(TruncationMode.KEEP_END)));
  }

  private static List<Double> two() {
    return List.of(1.0, 0.5);
  }

  private static Arguments without(
      String option, String other, Consumer<DpoConfig.Builder> options) {
    return arguments(option, other, options);
  }

  @ParameterizedTest(name = "{0} against {1}")
  @MethodSource("withoutEffect")
  void whatWouldHaveNoEffectIsAnErrorThatNamesBothOptions(
      String option, String other, Consumer<DpoConfig.Builder> options) {
    ConfigException error = assertThrows(ConfigException.class, () -> dpo(options));
    assertEquals(option, error.option());
    assertTrue(error.getMessage().startsWith(option + ": "), error.getMessage());
    assertTrue(error.getMessage().contains(other), error.getMessage());
    assertFalse(error.getMessage().contains("\n"), error.getMessage());
  }

  static Stream<Arguments> outOfRange() {
    return Stream.of(
        without("beta", "", b -> b.beta(0)),
        without("beta", "", b -> b.beta(Double.NaN)),
        without("label_smoothing", "", b -> b.labelSmoothing(0.5)),
        without("label_smoothing", "", b -> b.labelSmoothing(-0.1)),
        without("ld_alpha", "", b -> b.ldAlpha(1.5)),
        without("loss_weights", "", b -> b.lossWeights(List.of(0.0))),
        without("learning_rate", "", b -> b.learningRate(0)),
        without("adam_beta1", "", b -> b.adamBeta1(1)),
        without("max_grad_norm", "", b -> b.maxGradNorm(-1)),
        without("warmup_steps", "", b -> b.warmupSteps(1.5)),
        without("warmup_ratio", "", b -> b.warmupRatio(1)),
        without("max_steps", "", b -> b.maxSteps(0)),
        without("logging_steps", "", b -> b.loggingSteps(0)),
        without("logging_steps", "", b -> b.loggingSteps(2.5)),
        without("per_device_train_batch_size", "", b -> b.perDeviceTrainBatchSize(0)),
        without("max_length", "", b -> b.maxLength(1)));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("outOfRange")
  void valuesOutOfRangeAreNamed(String option, String unused, Consumer<DpoConfig.Builder> options) {
    ConfigException error = assertThrows(ConfigException.class, () -> dpo(options));
    assertEquals(option, error.option());
    assertTrue(error.getMessage().matches(".*got .*, expected .*"), error.getMessage());
  }

  @Test
  void whatHasAnEffectIsAccepted() {
    dpo(b -> b.lossType(LossType.SIGMOID, LossType.SFT).lossWeights(two()).beta(0.01));
    dpo(b -> b.lossType(LossType.EXO_PAIR).labelSmoothing(0.001));
    dpo(b -> b.lossType(LossType.SIGMOID).labelSmoothing(0.1));
    dpo(b -> b.lossType(LossType.SIMPO).simpoGamma(1));
    dpo(b -> b.fDivergenceType(FDivergence.ALPHA_DIVERGENCE).fAlphaDivergenceCoef(0.3));
    dpo(b -> b.syncRefModel().refModelSyncSteps(5).maxSteps(20));
    dpo(b -> b.lrSchedulerType(LearningRateSchedule.COSINE).warmupRatio(0.1));
    dpo(b -> b.optim(OptimizerType.SGD).momentum(0.9));
    assertTrue(dpo(b -> b.lossType(LossType.SFT)).loss().scoresReference());
    assertFalse(dpo(b -> b.lossType(LossType.SIMPO)).loss().scoresReference());
    assertFalse(dpo(b -> b.referenceFree()).loss().readsReference());
  }

  /** What {@code dtype} and {@code bf16} choose together: computed in, and written. */
  @ParameterizedTest
  @CsvSource({
    "auto, , auto, float32",
    "auto, true, bfloat16, float32",
    "auto, false, float32, float32",
    "float32, , float32, float32",
    "float32, true, bfloat16, float32",
    "float32, false, float32, float32",
    "bfloat16, , bfloat16, bfloat16",
    "bfloat16, true, bfloat16, bfloat16",
    "bfloat16, false, bfloat16, bfloat16"
  })
  void dtypeAndBf16(String dtype, @Nullable Boolean bf16, String computed, String saved) {
    DpoConfig config =
        dpo(
            b -> {
              b.dtype(PrecisionChoice.fromName(dtype));
              if (bf16 != null) {
                b = bf16 ? b.bf16() : b.noBf16();
              }
            });
    assertEquals(computed, config.precision().toString());
    assertEquals(saved, config.model().saved().toString());
  }

  @Test
  void whatIsRequiredIsNamed() {
    ConfigException error = assertThrows(ConfigException.class, () -> DpoConfig.builder().build());
    assertEquals("model_name_or_path", error.option());
  }

  @ParameterizedTest
  @EnumSource(LossType.class)
  void lossesAreFoundByTheirNames(LossType type) {
    assertEquals(type, LossType.fromName(type.toString()));
  }

  @Test
  void anUnknownLossIsCorrected() {
    ConfigException error =
        assertThrows(ConfigException.class, () -> LossType.fromName("sigmoid_nrom"));
    assertTrue(error.getMessage().endsWith("did you mean sigmoid_norm?"), error.getMessage());
  }

  @Test
  void devices() {
    assertEquals(new Device(Device.Type.CUDA, 3), Device.fromName("cuda:3"));
    assertEquals("cuda:0", Device.fromName("cuda").toString());
    assertThrows(ConfigException.class, () -> Device.fromName("cuda:"));
    assertThrows(ConfigException.class, () -> Device.fromName("gpu"));
  }

  @Test
  void autoTakesTheCpuOverAnEmulationAndSaysWhy() {
    try (Backend backend = Device.fromName("cuda").open(DeviceOptions.DEFAULT).backend()) {
      assertEquals("cuda (SIMT emulation on the CPU, for tests)", backend.description());
    }
    OpenDevice device = Device.AUTO.open(DeviceOptions.ofThreads(1));
    try (Backend backend = device.backend()) {
      assertEquals("cpu", backend.name());
      assertEquals(
          List.of(
              "backend: " + backend.description(),
              "device: auto took the CPU; cuda: this process emulates CUDA, which only device cuda"
                  + " asks for"),
          device.notes());
    }
  }

  @Test
  void profileSteps() {
    assertEquals(new ProfileSteps(3, 5), ProfileSteps.fromName("3:5"));
    assertEquals("3:5", new ProfileSteps(3, 5).toString());
    for (String wrong : List.of("0:1", "5:3", "3", "3:", "a:b")) {
      assertThrows(ConfigException.class, () -> ProfileSteps.fromName(wrong), wrong);
    }
  }

  @Test
  void warmupAndIntervalsRoundAsTransformersDoes() {
    assertEquals(3, dpo(b -> b.warmupRatio(0.1)).optimizer().warmupStepCount(21));
    assertEquals(3, dpo(b -> b.warmupSteps(0.1)).optimizer().warmupStepCount(21));
    assertEquals(5, dpo(b -> b.warmupSteps(5)).optimizer().warmupStepCount(21));
    assertEquals(0, dpo().build().optimizer().warmupStepCount(21));
    assertEquals(3, dpo(b -> b.loggingSteps(0.1)).run().loggingInterval(21));
    assertEquals(10, dpo().build().run().loggingInterval(21));
  }

  @Test
  void aFolderThatHoldsAModelIsNotOverwrittenUnlessAsked(@TempDir Path folder) throws Exception {
    Path output = folder.resolve("new").resolve("model");
    dpo(b -> b.outputDir(output)).run().createOutputDir();
    assertTrue(Files.isDirectory(output));
    dpo(b -> b.outputDir(output)).run().createOutputDir();
    Files.writeString(output.resolve("config.json"), "{}");
    RunConfig refused = dpo(b -> b.outputDir(output)).run();
    ConfigException error = assertThrows(ConfigException.class, refused::createOutputDir);
    assertEquals("output_dir", error.option());
    dpo(b -> b.outputDir(output).overwriteOutputDir()).run().createOutputDir();
  }

  @Test
  void optionsAreNamedAsTrlNamesThem() {
    List<String> names =
        EffectiveConfig.options(dpo().build()).stream().map(EffectiveConfig.Option::name).toList();
    assertTrue(
        names.containsAll(
            List.of(
                "model_name_or_path",
                "f_divergence_type",
                "f_alpha_divergence_coef",
                "per_device_train_batch_size",
                "adam_beta2",
                "bf16")),
        names::toString);
  }

  @Test
  void theEffectiveConfigurationIsYaml() {
    String yaml =
        EffectiveConfig.yaml(
            dpo(b -> b.outputDir(Path.of("a: b")).saveStrategy(SaveStrategy.NO).beta(1e-6)));
    assertTrue(yaml.contains("output_dir: \"a: b\"\n"), yaml);
    assertTrue(yaml.contains("save_strategy: \"no\"\n"), yaml);
    assertTrue(yaml.contains("beta: 1e-06\n"), yaml);
    assertTrue(yaml.contains("loss_type: [sigmoid]\n"), yaml);
    assertTrue(yaml.contains("# loss\n"), yaml);
  }
}
