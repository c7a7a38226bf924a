package dev.gatun.train;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.data.SamplingStrategy;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;

/** The arguments of a recorded TRL run ({@code run.json}) as Gatun's options. */
final class GoldenConfigs {
  private GoldenConfigs() {}

  static DpoConfig of(JsonNode arguments, Path goldens, Path output, Device device) {
    return builder(arguments, goldens, output, device).build();
  }

  static DpoConfig.Builder builder(JsonNode a, Path goldens, Path output, Device device) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(goldens.resolve("models").resolve(a.get("model").asText()))
            .datasetName(goldens.resolve("data").resolve(a.get("data").asText()))
            .outputDir(output)
            .dtype(PrecisionChoice.FLOAT32)
            .overwriteOutputDir()
            .device(device)
            .threads(device.type() == Device.Type.CPU ? 1 : 0)
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .loggingSteps(1)
            .lossType(
                Arrays.stream(a.get("loss_type").asText().split(","))
                    .map(LossType::fromName)
                    .toList())
            .beta(a.get("beta").asDouble())
            .labelSmoothing(a.get("label_smoothing").asDouble())
            .fDivergenceType(FDivergence.fromName(a.get("f_divergence").asText()))
            .learningRate(a.get("lr").asDouble())
            .lrSchedulerType(LearningRateSchedule.fromName(a.get("scheduler").asText()))
            .warmupSteps(a.get("warmup_steps").asDouble())
            .maxSteps(a.get("steps").asInt())
            .perDeviceTrainBatchSize(a.get("batch_size").asInt())
            .gradientAccumulationSteps(a.get("grad_accum").asInt())
            .maxGradNorm(a.get("max_grad_norm").asDouble())
            .weightDecay(a.get("weight_decay").asDouble())
            .optim(OptimizerType.valueOf(a.get("optim").asText().toUpperCase(Locale.ROOT)))
            .maxLength(a.get("max_length").asInt());
    if (!a.get("loss_weights").asText().isEmpty()) {
      builder.lossWeights(
          Arrays.stream(a.get("loss_weights").asText().split(",")).map(Double::valueOf).toList());
    }
    if (!a.get("ref_model").isNull()) {
      builder.refModelNameOrPath(goldens.resolve("models").resolve(a.get("ref_model").asText()));
    }
    if (!a.get("ld_alpha").isNull()) {
      builder.ldAlpha(a.get("ld_alpha").asDouble());
    }
    if (a.get("use_weighting").asBoolean()) {
      builder.useWeighting();
    }
    if (a.get("sync_ref").asInt() > 0) {
      builder.syncRefModel().refModelSyncSteps(a.get("sync_ref").asInt());
    }
    if (a.get("precompute_ref").asBoolean()) {
      builder.precomputeRefLogProbs();
    }
    if (a.get("gradient_checkpointing").asBoolean()) {
      builder.gradientCheckpointing();
    }
    if (a.get("precision").asText().equals("bf16")) {
      builder.dtype(PrecisionChoice.BFLOAT16);
    }
    if (a.get("precision").asText().equals("amp")) {
      builder.bf16();
    }
    return builder;
  }
}
