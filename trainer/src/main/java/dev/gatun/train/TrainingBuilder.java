package dev.gatun.train;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.CudaOptions;
import dev.gatun.data.OnBadRow;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.data.TruncationMode;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The options that every kind of training has; what each means is said at the records that they end
 * up in. Options not set keep their defaults, which are TRL's except as docs/train-dpo.md lists.
 *
 * @param <B> the builder itself
 */
public abstract sealed class TrainingBuilder<B extends TrainingBuilder<B>>
    permits DpoConfig.Builder, SftConfig.Builder {
  private @Nullable Path modelNameOrPath;
  private PrecisionChoice dtype = PrecisionChoice.AUTO;
  private @Nullable Path datasetName;
  private String datasetTrainSplit = "train";
  private @Nullable Integer maxLength = 1024;
  private TruncationMode truncationMode = TruncationMode.KEEP_START;
  private OnBadRow onBadRow = OnBadRow.ERROR;
  private OptimizerType optim = OptimizerType.ADAMW_TORCH_FUSED;
  private double learningRate;
  private double adamBeta1 = OptimizerConfig.DEFAULT_BETA1;
  private double adamBeta2 = OptimizerConfig.DEFAULT_BETA2;
  private double adamEpsilon = OptimizerConfig.DEFAULT_EPSILON;
  private double rmspropAlpha = OptimizerConfig.DEFAULT_RMSPROP_ALPHA;
  private double rmspropEpsilon = OptimizerConfig.DEFAULT_EPSILON;
  private double momentum;
  private boolean bf16StochasticRound;
  private double weightDecay;
  private double maxGradNorm = 1;
  private LearningRateSchedule lrSchedulerType = LearningRateSchedule.LINEAR;
  private double warmupSteps;
  private double warmupRatio;
  private @Nullable Path outputDir;
  private boolean overwriteOutputDir;
  private int maxSteps = -1;
  private double numTrainEpochs = RunConfig.DEFAULT_EPOCHS;
  private int perDeviceTrainBatchSize = 8;
  private int gradientAccumulationSteps = 1;
  private long seed = 42;
  private SamplingStrategy trainSamplingStrategy = SamplingStrategy.RANDOM;
  private double loggingSteps = 10;
  private boolean loggingFirstStep;
  private SaveStrategy saveStrategy = SaveStrategy.STEPS;
  private double saveSteps = RunConfig.DEFAULT_SAVE_STEPS;
  private boolean gradientCheckpointing;
  private @Nullable Boolean bf16;
  private Device device = Device.AUTO;
  private AttentionImplementation attnImplementation = AttentionImplementation.AUTO;
  private int threads;
  private @Nullable Path cudaHome;
  private boolean tf32;
  private boolean debugSync;
  private CudaOptions.Graphs cudaGraphs = CudaOptions.Graphs.AUTO;
  private @Nullable ProfileSteps profileSteps;
  private int maxTokensPerPack;

  TrainingBuilder(double learningRate) {
    this.learningRate = learningRate;
  }

  abstract B self();

  /** Model directory that training starts from; required. */
  public final B modelNameOrPath(Path value) {
    modelNameOrPath = value;
    return self();
  }

  /**
   * Storage type of weights and activations. Unless this or {@link #bf16} is set it follows the
   * device, here as on the command line: a run must not depend on who starts it. Name one where
   * results are compared between machines.
   */
  public final B dtype(PrecisionChoice value) {
    dtype = value;
    return self();
  }

  /** A JSONL or JSON file, or a folder that holds one per split; required. */
  public final B datasetName(Path value) {
    datasetName = value;
    return self();
  }

  public final B datasetTrainSplit(String value) {
    datasetTrainSplit = value;
    return self();
  }

  /** Longest sequence in tokens; see {@link #unlimitedLength}. */
  public final B maxLength(int value) {
    maxLength = value;
    return self();
  }

  /** Truncates nothing. */
  public final B unlimitedLength() {
    maxLength = null;
    return self();
  }

  public final B truncationMode(TruncationMode value) {
    truncationMode = value;
    return self();
  }

  public final B onBadRow(OnBadRow value) {
    onBadRow = value;
    return self();
  }

  public final B optim(OptimizerType value) {
    optim = value;
    return self();
  }

  public final B learningRate(double value) {
    learningRate = value;
    return self();
  }

  public final B adamBeta1(double value) {
    adamBeta1 = value;
    return self();
  }

  public final B adamBeta2(double value) {
    adamBeta2 = value;
    return self();
  }

  public final B adamEpsilon(double value) {
    adamEpsilon = value;
    return self();
  }

  public final B rmspropAlpha(double value) {
    rmspropAlpha = value;
    return self();
  }

  public final B rmspropEpsilon(double value) {
    rmspropEpsilon = value;
    return self();
  }

  public final B momentum(double value) {
    momentum = value;
    return self();
  }

  /** Rounds bf16 weights at random instead of keeping their exact f32 masters. */
  public final B bf16StochasticRound() {
    bf16StochasticRound = true;
    return self();
  }

  public final B weightDecay(double value) {
    weightDecay = value;
    return self();
  }

  public final B maxGradNorm(double value) {
    maxGradNorm = value;
    return self();
  }

  public final B lrSchedulerType(LearningRateSchedule value) {
    lrSchedulerType = value;
    return self();
  }

  public final B warmupSteps(double value) {
    warmupSteps = value;
    return self();
  }

  public final B warmupRatio(double value) {
    warmupRatio = value;
    return self();
  }

  /** Folder of the trained model and the metrics; required. */
  public final B outputDir(Path value) {
    outputDir = value;
    return self();
  }

  /** Writes into an output folder that already holds a model. */
  public final B overwriteOutputDir() {
    overwriteOutputDir = true;
    return self();
  }

  public final B maxSteps(int value) {
    maxSteps = value;
    return self();
  }

  public final B numTrainEpochs(double value) {
    numTrainEpochs = value;
    return self();
  }

  public final B perDeviceTrainBatchSize(int value) {
    perDeviceTrainBatchSize = value;
    return self();
  }

  public final B gradientAccumulationSteps(int value) {
    gradientAccumulationSteps = value;
    return self();
  }

  public final B seed(long value) {
    seed = value;
    return self();
  }

  public final B trainSamplingStrategy(SamplingStrategy value) {
    trainSamplingStrategy = value;
    return self();
  }

  public final B loggingSteps(double value) {
    loggingSteps = value;
    return self();
  }

  /** Logs the first step too. */
  public final B loggingFirstStep() {
    loggingFirstStep = true;
    return self();
  }

  public final B saveStrategy(SaveStrategy value) {
    saveStrategy = value;
    return self();
  }

  public final B saveSteps(double value) {
    saveSteps = value;
    return self();
  }

  /** Recomputes activations in the backward pass, to save memory. */
  public final B gradientCheckpointing() {
    gradientCheckpointing = true;
    return self();
  }

  /** Stores weights and activations in bf16, with exact f32 master weights. */
  public final B bf16() {
    bf16 = true;
    return self();
  }

  /** Stores weights and activations in f32, unless {@link #dtype} names bf16. */
  public final B noBf16() {
    bf16 = false;
    return self();
  }

  public final B device(Device value) {
    device = value;
    return self();
  }

  /** Who computes attention. */
  public final B attnImplementation(AttentionImplementation value) {
    attnImplementation = value;
    return self();
  }

  public final B threads(int value) {
    threads = value;
    return self();
  }

  /** Folder to look for NVIDIA's libraries in first. */
  public final B cudaHome(Path value) {
    cudaHome = value;
    return self();
  }

  /** Lets f32 matrix products on a GPU round their operands to TF32. */
  public final B tf32() {
    tf32 = true;
    return self();
  }

  /** Waits after every operation on a GPU, so that a failure names its cause. */
  public final B debugSync() {
    debugSync = true;
    return self();
  }

  /** Whether a GPU replays work that repeats; results are the same. */
  public final B cudaGraphs(CudaOptions.Graphs value) {
    cudaGraphs = value;
    return self();
  }

  public final B profileSteps(ProfileSteps value) {
    profileSteps = value;
    return self();
  }

  public final B maxTokensPerPack(int value) {
    maxTokensPerPack = value;
    return self();
  }

  final ModelSource model(@Nullable Path refModelNameOrPath) {
    return new ModelSource(
        required("model_name_or_path", modelNameOrPath, "a model directory"),
        refModelNameOrPath,
        dtype);
  }

  final DataConfig data() {
    return new DataConfig(
        required("dataset_name", datasetName, "a JSONL or JSON file, or its folder"),
        datasetTrainSplit,
        maxLength,
        truncationMode,
        onBadRow);
  }

  final OptimizerConfig optimizer() {
    return new OptimizerConfig(
        optim,
        learningRate,
        adamBeta1,
        adamBeta2,
        adamEpsilon,
        rmspropAlpha,
        rmspropEpsilon,
        momentum,
        bf16StochasticRound,
        weightDecay,
        maxGradNorm,
        lrSchedulerType,
        warmupSteps,
        warmupRatio);
  }

  final RunConfig run() {
    return new RunConfig(
        required("output_dir", outputDir, "the folder to write the model to"),
        overwriteOutputDir,
        maxSteps,
        numTrainEpochs,
        perDeviceTrainBatchSize,
        gradientAccumulationSteps,
        seed,
        trainSamplingStrategy,
        loggingSteps,
        loggingFirstStep,
        saveStrategy,
        saveSteps,
        gradientCheckpointing,
        bf16,
        device,
        attnImplementation,
        threads,
        cudaHome,
        tf32,
        debugSync,
        cudaGraphs,
        profileSteps,
        maxTokensPerPack);
  }

  private static <T> T required(String option, @Nullable T value, String what) {
    if (value == null) {
      throw new ConfigException(option, "is required: " + what);
    }
    return value;
  }
}
