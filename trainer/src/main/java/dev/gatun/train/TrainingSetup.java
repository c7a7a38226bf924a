package dev.gatun.train;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.AttentionRun;
import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendMemory;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudnnUnsupportedException;
import dev.gatun.data.SampleOrder;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.Tokenizer;
import dev.gatun.model.BatchRounding;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.Parameters;
import dev.gatun.model.WeightFiles;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunPlan;
import dev.gatun.tensor.DType;
import java.nio.file.Path;
import java.util.List;

/**
 * What every trainer needs, whatever its loss: a backend, a model with its tokenizer, and, once the
 * data is known, a schedule and a policy.
 */
final class TrainingSetup implements AutoCloseable {
  private static final int MIN_LOGIT_ROWS = 64;

  /**
   * How much is computed at a time on a kind of device: enough rows to keep its matrix products
   * busy, few enough to keep activations small.
   *
   * @param tokens in a pack
   * @param logitsBytes of the logits that the head makes at a time, unless one pair has more
   * @param mostLogitRows the same in rows
   * @param rounding of a pack's extents
   */
  record Portion(int tokens, long logitsBytes, int mostLogitRows, BatchRounding rounding) {
    static final Portion CPU = new Portion(2048, 128L << 20, 2048, BatchRounding.EXACT);
    static final Portion GPU = new Portion(16_384, 2L << 30, 8192, BatchRounding.REPEATING);

    static Portion of(Backend backend) {
      return switch (backend) {
        case CpuBackend _ -> CPU;
        case CudaBackend _ -> GPU;
      };
    }

    /** Tokens that are computed together, at most, unless one row has more. */
    int tokensPerPack(RunConfig run) {
      return run.maxTokensPerPack() == 0 ? tokens : run.maxTokensPerPack();
    }

    /** Prediction rows that the head makes logits for at a time. */
    int logitRows(ModelConfig config) {
      long rows = logitsBytes / (DType.F32.sizeBytes() * (long) config.vocabSize());
      return Math.clamp(rows, MIN_LOGIT_ROWS, mostLogitRows);
    }
  }

  private final Backend backend;
  private final TrainingSchedule schedule;
  private final Decoder decoder;
  private final Policy policy;
  private final RunConfig run;
  private volatile boolean interrupted;

  /** A model that was opened but not yet loaded. */
  record Source(ModelDirectory directory, ModelConfig config, Tokenizer tokenizer)
      implements StartModel {
    static Source open(Path path) {
      ModelDirectory directory = ModelDirectory.open(path);
      return new Source(
          directory,
          ModelConfig.parse(directory.config(), path.resolve("config.json")),
          Tokenizer.open(path));
    }

    @Override
    public void load(Backend backend, Parameters parameters) {
      WeightFiles.read(backend, directory, parameters);
    }

    @Override
    public void save(Backend backend, Parameters parameters, Path output) {
      WeightFiles.write(backend, parameters, directory, output);
    }

    /** Unmaps the files. */
    @Override
    public void close() {
      tokenizer.close();
      directory.close();
    }
  }

  TrainingSetup(
      Backend backend, TrainingSchedule schedule, Decoder decoder, Policy policy, RunConfig run) {
    this.backend = backend;
    this.schedule = schedule;
    this.decoder = decoder;
    this.policy = policy;
    this.run = run;
  }

  /**
   * The storage type of a run on its device.
   *
   * @throws ConfigException if an option of the optimizer needs another
   */
  static ResolvedPrecision precision(
      PrecisionChoice choice, OptimizerConfig optimizer, Backend backend) {
    ResolvedPrecision resolved = choice.on(backend);
    optimizer.check(resolved);
    return resolved;
  }

  /** A line for the user: the storage type, its reason, and where small updates go. */
  static String describe(ResolvedPrecision precision, OptimizerConfig optimizer) {
    String masters =
        switch (precision.precision()) {
          case FLOAT32 -> "";
          case BFLOAT16 ->
              optimizer.bf16StochasticRound()
                  ? ", rounded at random, no masters"
                  : ", exact float32 masters";
        };
    return "dtype: " + precision + masters;
  }

  /** The steps of a run over rows of these lengths, in tokens. */
  static TrainingSchedule schedule(RunConfig run, int[] lengths) {
    SampleOrder order =
        new SampleOrder(
            run.trainSamplingStrategy(), run.seed(), lengths, run.perDeviceTrainBatchSize());
    return run.maxSteps() > 0
        ? TrainingSchedule.ofSteps(
            order, run.perDeviceTrainBatchSize(), run.gradientAccumulationSteps(), run.maxSteps())
        : TrainingSchedule.ofEpochs(
            order,
            run.perDeviceTrainBatchSize(),
            run.gradientAccumulationSteps(),
            run.numTrainEpochs());
  }

  static RunPlan plan(
      RunConfig run,
      TrainingSchedule schedule,
      RunPlan.Rows rows,
      Precision precision,
      double peakFlopsPerSecond,
      List<String> notes) {
    long steps = schedule.totalSteps();
    return new RunPlan(
        rows,
        steps,
        schedule.step(schedule.totalSteps()).epochsDone(),
        run.rowsPerStep(),
        run.perDeviceTrainBatchSize(),
        run.loggingInterval(steps),
        run.loggingFirstStep(),
        run.saveStrategy() == SaveStrategy.STEPS ? run.saveInterval(steps) : 0,
        precision.toString(),
        peakFlopsPerSecond,
        notes);
  }

  /** Workspace for every kernel call of a step. */
  static void reserveWorkspace(Backend backend, ModelConfig config, BatchShape shape) {
    backend.reserveWorkspace(workspaceRows(shape), workspaceColumns(config));
  }

  /** Bytes that {@link #reserveWorkspace} takes. */
  static long workspaceBytes(BackendMemory backend, ModelConfig config, BatchShape shape) {
    return backend.workspaceBytes(workspaceRows(shape), workspaceColumns(config));
  }

  private static long workspaceRows(BatchShape shape) {
    return Math.max(shape.keyRows(), shape.predictions());
  }

  private static long workspaceColumns(ModelConfig config) {
    return Math.max(
        Math.max(config.vocabSize(), 2 * config.intermediateSize()),
        Math.max(config.hiddenSize(), config.numHeads() * config.headDim()));
  }

  /**
   * Chooses who computes attention.
   *
   * @param dtype of activations
   * @param shape large enough for every pack
   * @return a line for the user
   */
  static String planAttention(
      Backend backend, RunConfig run, ModelConfig config, DType dtype, BatchShape shape) {
    AttentionImplementation implementation = run.attnImplementation();
    try {
      return "attention: "
          + backend.planAttention(implementation, attentionRun(config, dtype, shape));
    } catch (CudnnUnsupportedException e) {
      throw new ConfigException(
          "attn_implementation",
          "%s cannot be had: %s; choose auto or gatun".formatted(implementation, e.getMessage()));
    }
  }

  /** The attention of packs of at most this shape. */
  static AttentionRun attentionRun(ModelConfig config, DType dtype, BatchShape shape) {
    int heads = config.numHeads();
    int width = (heads + 2 * config.numKeyValueHeads()) * config.headDim();
    int window =
        config.slidingWindows().stream()
            .filter(keys -> keys > 0 && keys < shape.longestKeys())
            .min(Integer::compare)
            .orElse(0);
    return new AttentionRun(
        dtype,
        heads,
        config.numKeyValueHeads(),
        config.headDim(),
        config.qkNorm() ? heads * config.headDim() : width,
        width,
        config.attentionScale(),
        config.attentionLogitSoftcap(),
        window,
        shape.segments(),
        shape.longestKeys(),
        shape.tokens(),
        shape.keyRows());
  }

  Backend backend() {
    return backend;
  }

  TrainingSchedule schedule() {
    return schedule;
  }

  Policy policy() {
    return policy;
  }

  TrainingLoop loop(RunPlan plan, List<MetricsListener> listeners) {
    return new TrainingLoop(backend, schedule, run, policy, plan, listeners, () -> interrupted);
  }

  void interrupt() {
    interrupted = true;
  }

  @Override
  public void close() {
    policy.close();
    decoder.close();
    backend.close();
  }
}
