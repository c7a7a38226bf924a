package dev.gatun.train;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.CudaOptions;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.report.EffectiveConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How long a run is, what it writes and where it computes.
 *
 * @param outputDir folder of the trained model and the metrics
 * @param overwriteOutputDir write into {@code outputDir} even if it already holds a model
 * @param maxSteps optimizer steps; -1: as {@code numTrainEpochs} says
 * @param numTrainEpochs passes over the rows; the last may be a part
 * @param perDeviceTrainBatchSize rows (pairs) in a micro-batch
 * @param gradientAccumulationSteps micro-batches in an optimizer step
 * @param seed of shuffling and sampling
 * @param trainSamplingStrategy order in which rows are visited
 * @param loggingSteps optimizer steps between two log lines; below 1: a share of all steps
 * @param loggingFirstStep also log the first step
 * @param saveStrategy when model directories {@code checkpoint-N} are written
 * @param saveSteps optimizer steps between two of them; below 1: a share of all steps
 * @param gradientCheckpointing recompute a layer's activations in the backward pass
 * @param bf16 store weights and activations in bf16, with exact f32 master weights; false: in f32,
 *     unless {@code dtype} names bf16; null: as {@code dtype} says
 * @param device where to compute
 * @param attnImplementation who computes attention
 * @param threads CPU threads; 0: all cores
 * @param cudaHome folder to look for NVIDIA's libraries in first; null: the usual places
 * @param tf32 f32 matrix products on a GPU may round their operands to TF32
 * @param debugSync wait after every operation on a GPU, so that a failure names its cause
 * @param cudaGraphs whether a GPU replays work that repeats; results are the same
 * @param profileSteps steps that a profiler records; null: none
 * @param maxTokensPerPack longest pack of pairs that is computed at once, in tokens; 0: chosen from
 *     the model's size. It changes speed and memory, not results
 */
public record RunConfig(
    Path outputDir,
    boolean overwriteOutputDir,
    int maxSteps,
    double numTrainEpochs,
    int perDeviceTrainBatchSize,
    int gradientAccumulationSteps,
    long seed,
    SamplingStrategy trainSamplingStrategy,
    double loggingSteps,
    boolean loggingFirstStep,
    SaveStrategy saveStrategy,
    double saveSteps,
    boolean gradientCheckpointing,
    @Nullable Boolean bf16,
    Device device,
    AttentionImplementation attnImplementation,
    int threads,
    @Nullable Path cudaHome,
    boolean tf32,
    boolean debugSync,
    CudaOptions.Graphs cudaGraphs,
    @Nullable ProfileSteps profileSteps,
    int maxTokensPerPack)
    implements EffectiveConfig.Section {
  static final double DEFAULT_EPOCHS = 3;
  static final double DEFAULT_SAVE_STEPS = 500;

  public RunConfig {
    Objects.requireNonNull(outputDir, "outputDir");
    Objects.requireNonNull(device, "device");
    Objects.requireNonNull(attnImplementation, "attnImplementation");
    Objects.requireNonNull(cudaGraphs, "cudaGraphs");
    Check.that("max_steps", maxSteps == -1 || maxSteps >= 1, maxSteps, "at least 1, or -1");
    Check.positive("num_train_epochs", numTrainEpochs);
    Check.acts(
        "num_train_epochs",
        numTrainEpochs != DEFAULT_EPOCHS,
        maxSteps == -1,
        "max_steps decides the length; remove one of them");
    Check.that(
        "per_device_train_batch_size",
        perDeviceTrainBatchSize >= 1,
        perDeviceTrainBatchSize,
        "at least 1");
    Check.that(
        "gradient_accumulation_steps",
        gradientAccumulationSteps >= 1,
        gradientAccumulationSteps,
        "at least 1");
    checkInterval("logging_steps", loggingSteps);
    checkInterval("save_steps", saveSteps);
    Check.acts(
        "logging_first_step",
        loggingFirstStep,
        loggingSteps != 1,
        "logging_steps 1 logs every step; remove one of them");
    Check.acts(
        "save_steps",
        saveSteps != DEFAULT_SAVE_STEPS,
        saveStrategy == SaveStrategy.STEPS,
        "only save_strategy steps reads it, not %s; remove one of them".formatted(saveStrategy));
    Check.acts(
        "attn_implementation",
        attnImplementation == AttentionImplementation.CUDNN,
        device.type() != Device.Type.CPU,
        "cuDNN computes on GPUs, not on device cpu; choose auto or gatun");
    Check.that("threads", threads >= 0, threads, "at least 1, or 0 for all cores");
    Check.acts(
        "threads",
        threads != 0,
        device.type() != Device.Type.CUDA,
        "device %s computes on the GPU; remove one of them".formatted(device));
    requireGpu("cuda_home", cudaHome != null, device);
    requireGpu("tf32", tf32, device);
    requireGpu("debug_sync", debugSync, device);
    requireGpu("cuda_graphs", cudaGraphs == CudaOptions.Graphs.ON, device);
    Check.acts(
        "cuda_graphs",
        cudaGraphs == CudaOptions.Graphs.ON,
        !debugSync,
        "debug_sync waits after every operation, which a graph cannot; remove one of them");
    requireGpu("profile_steps", profileSteps != null, device);
    Check.that(
        "max_tokens_per_pack",
        maxTokensPerPack >= 0,
        maxTokensPerPack,
        "at least 1, or 0 for auto");
  }

  /**
   * Makes the output folder if it is not there.
   *
   * @throws ConfigException if it holds a model and is not to be overwritten
   * @throws UncheckedIOException if it cannot be made
   */
  public void createOutputDir() {
    if (!overwriteOutputDir && Files.exists(outputDir.resolve("config.json"))) {
      throw new ConfigException(
          "output_dir",
          "%s already holds a model; name another folder or set overwrite_output_dir"
              .formatted(outputDir));
    }
    try {
      Files.createDirectories(outputDir);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "%s: cannot make the output folder: %s".formatted(outputDir, e), e);
    }
  }

  /** How {@link #device} computes. */
  DeviceOptions deviceOptions() {
    return new DeviceOptions(threads, cudaHome, debugSync, tf32, cudaGraphs);
  }

  /** Storage type of weights and activations, given the option {@code dtype}. */
  PrecisionChoice precision(PrecisionChoice dtype) {
    if (bf16 == null) {
      return dtype;
    }
    return dtype.with(bf16 ? PrecisionChoice.BFLOAT16 : PrecisionChoice.FLOAT32);
  }

  /** Rows in an optimizer step. */
  public int rowsPerStep() {
    return Math.multiplyExact(perDeviceTrainBatchSize, gradientAccumulationSteps);
  }

  /** Optimizer steps between two log lines in a run of {@code totalSteps}. */
  public long loggingInterval(long totalSteps) {
    return interval(loggingSteps, totalSteps);
  }

  /** Optimizer steps between two {@code checkpoint-N} in a run of {@code totalSteps}. */
  public long saveInterval(long totalSteps) {
    return interval(saveSteps, totalSteps);
  }

  private static long interval(double steps, long totalSteps) {
    return steps >= 1 ? (long) steps : Math.max(1, (long) Math.ceil(totalSteps * steps));
  }

  private static void requireGpu(String option, boolean given, Device device) {
    Check.acts(
        option,
        given,
        device.type() != Device.Type.CPU,
        "device cpu does not read it; remove one of them");
  }

  private static void checkInterval(String option, double steps) {
    Check.positive(option, steps);
    Check.that(
        option,
        steps < 1 || steps == Math.rint(steps),
        steps,
        "a whole number of steps, or a share of all steps below 1");
  }
}
