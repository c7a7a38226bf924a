package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.optim.AdamW;
import dev.gatun.optim.AdamW8bit;
import dev.gatun.optim.Bf16Steps;
import dev.gatun.optim.Optimizer;
import dev.gatun.optim.RmsProp;
import dev.gatun.optim.Sgd;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;

/**
 * The model that is trained: weights, gradients and optimizer, each a slab of the same layout, and
 * the model that it came from, which it closes.
 */
final class Policy implements AutoCloseable {
  private final Backend backend;
  private final StartModel start;
  private final Precision saved;
  private final Parameters parameters;
  private final Parameters gradients;
  private final Optimizer optimizer;
  private final DecoderParameters weightTensors;
  private final DecoderParameters gradientTensors;
  private final OptimizerConfig optimizerConfig;
  private final long seed;
  private final long totalSteps;

  /**
   * @param computed storage type of weights and activations
   * @param seed of stochastic rounding
   * @param saved type of the weights that are written: f32 if the run's {@code dtype} is, even
   *     where it computes in bf16
   */
  Policy(
      Backend backend,
      StartModel start,
      Precision computed,
      Precision saved,
      OptimizerConfig optimizerConfig,
      long seed,
      long totalSteps) {
    this.backend = backend;
    this.start = start;
    this.saved = saved;
    this.optimizerConfig = optimizerConfig;
    this.seed = seed;
    this.totalSteps = totalSteps;
    ModelConfig config = start.config();
    ParameterLayout layout = ParameterLayout.of(config);
    parameters = new Parameters(backend, "policy", layout, dtype(computed));
    gradients = new Parameters(backend, "gradients", layout, DType.F32);
    optimizer = optimizer();
    if (parameters.dtype() == DType.F32) {
      start.load(backend, parameters);
    } else {
      // Gradients are f32 and not there yet: room for the exact weights.
      start.load(backend, gradients);
      optimizer.setMaster(gradients.all());
    }
    weightTensors = DecoderParameters.of(parameters, config);
    gradientTensors = DecoderParameters.of(gradients, config);
  }

  static DType dtype(Precision precision) {
    return switch (precision) {
      case FLOAT32 -> DType.F32;
      case BFLOAT16 -> DType.BF16;
    };
  }

  private Optimizer optimizer() {
    OptimizerConfig o = optimizerConfig;
    return switch (o.optim()) {
      case ADAMW_TORCH, ADAMW_TORCH_FUSED ->
          new AdamW(backend, parameters, gradients, adamOptions(o));
      case ADAMW_8BIT -> new AdamW8bit(backend, parameters, gradients, adamOptions(o));
      case RMSPROP ->
          new RmsProp(
              backend,
              parameters,
              gradients,
              new RmsProp.Options(
                  o.rmspropAlpha(), o.rmspropEpsilon(), o.momentum(), o.weightDecay()));
      case SGD ->
          new Sgd(backend, parameters, gradients, new Sgd.Options(o.momentum(), o.weightDecay()));
    };
  }

  private AdamW.Options adamOptions(OptimizerConfig o) {
    return new AdamW.Options(
        o.adamBeta1(),
        o.adamBeta2(),
        o.adamEpsilon(),
        o.weightDecay(),
        o.bf16StochasticRound() ? Bf16Steps.STOCHASTIC : Bf16Steps.EXACT,
        seed);
  }

  ModelConfig config() {
    return start.config();
  }

  Parameters parameters() {
    return parameters;
  }

  DecoderParameters weights() {
    return weightTensors;
  }

  DecoderParameters gradients() {
    return gradientTensors;
  }

  /** The slab of gradients. */
  Parameters gradientSlab() {
    return gradients;
  }

  void zeroGradients() {
    try (Backend.Range _ = backend.range("zero gradients")) {
      backend.zero(gradients.all());
    }
  }

  /** Learning rate of a step, from 1. */
  double learningRate(long step) {
    return optimizerConfig.learningRate()
        * optimizerConfig
            .lrSchedulerType()
            .factor(step - 1, optimizerConfig.warmupStepCount(totalSteps), totalSteps);
  }

  /** Counts, on a planning slab, the results that every step has. */
  static void planResults(Slab planner) {
    planner.allocate("gradient norm and scale", DType.F32, 2);
  }

  /** Global norm of the gradients before clipping, and the factor that clips: {@code [2]} f32. */
  Tensor gradientNorm() {
    try (Backend.Range _ = backend.range("gradient norm")) {
      return optimizer.gradientNorm(optimizerConfig.maxGradNorm());
    }
  }

  /**
   * Clips and applies the gradients.
   *
   * @param norm what {@link #gradientNorm} found
   */
  void update(long step, double norm) {
    if (!Double.isFinite(norm)) {
      throw new TrainingException(
          "step %d: gradient norm is %s; lower learning_rate or look at the data of this step"
              .formatted(step, norm));
    }
    try (Backend.Range _ = backend.range("optimizer")) {
      optimizer.update(learningRate(step));
    }
  }

  /**
   * Writes a model directory that transformers loads: weights, config, tokenizer files. Exact
   * weights of a bf16 run take the place of the gradients, which the next step zeroes: a run must
   * not need more memory at its end than at its beginning.
   */
  void save(Path output) {
    if (saved == Precision.FLOAT32 && parameters.dtype() != DType.F32) {
      optimizer.master(gradients.all());
      start.save(backend, gradients, output);
    } else {
      start.save(backend, parameters, output);
    }
  }

  @Override
  public void close() {
    optimizer.close();
    gradients.close();
    parameters.close();
    start.close();
  }
}
