package dev.gatun.train;

import dev.gatun.op.AdamW8bit;
import dev.gatun.report.EffectiveConfig;
import dev.gatun.tensor.DType;
import java.util.Objects;

/**
 * How weights follow gradients.
 *
 * @param optim the update rule
 * @param learningRate peak learning rate
 * @param adamBeta1 decay of AdamW's first moment
 * @param adamBeta2 decay of AdamW's second moment
 * @param adamEpsilon added to AdamW's denominator
 * @param rmspropAlpha decay of RMSprop's mean square
 * @param rmspropEpsilon added to RMSprop's denominator
 * @param momentum of SGD and RMSprop; 0: none
 * @param bf16StochasticRound round bf16 weights at random, right on average, instead of keeping an
 *     exact f32 master of each; torchao's name
 * @param weightDecay of all weights but biases and norms
 * @param maxGradNorm gradients of a larger norm are scaled down to it; 0: never
 * @param lrSchedulerType how the learning rate goes after warm-up
 * @param warmupSteps steps of linear warm-up; below 1: a share of all steps
 * @param warmupRatio warm-up as a share of all steps; transformers' older name for the same
 */
public record OptimizerConfig(
    OptimizerType optim,
    double learningRate,
    double adamBeta1,
    double adamBeta2,
    double adamEpsilon,
    double rmspropAlpha,
    double rmspropEpsilon,
    double momentum,
    boolean bf16StochasticRound,
    double weightDecay,
    double maxGradNorm,
    LearningRateSchedule lrSchedulerType,
    double warmupSteps,
    double warmupRatio)
    implements EffectiveConfig.Section {
  static final double DEFAULT_BETA1 = 0.9;
  static final double DEFAULT_BETA2 = 0.999;
  static final double DEFAULT_EPSILON = 1e-8;
  static final double DEFAULT_RMSPROP_ALPHA = 0.99;

  public OptimizerConfig {
    Objects.requireNonNull(optim, "optim");
    Check.positive("learning_rate", learningRate);
    Check.within("adam_beta1", adamBeta1, 0, 1);
    Check.within("adam_beta2", adamBeta2, 0, 1);
    Check.positive("adam_epsilon", adamEpsilon);
    Check.within("rmsprop_alpha", rmspropAlpha, 0, 1);
    Check.positive("rmsprop_epsilon", rmspropEpsilon);
    Check.within("momentum", momentum, 0, 1);
    Check.notNegative("weight_decay", weightDecay);
    Check.notNegative("max_grad_norm", maxGradNorm);
    Check.notNegative("warmup_steps", warmupSteps);
    Check.that(
        "warmup_steps",
        warmupSteps < 1 || warmupSteps == Math.rint(warmupSteps),
        warmupSteps,
        "a whole number of steps, or a share of all steps below 1");
    Check.within("warmup_ratio", warmupRatio, 0, 1);

    boolean adam = optim.isAdam();
    String onlyAdam =
        "only optim adamw_torch and adamw_8bit read it, not %s; remove it".formatted(optim);
    Check.acts("bf16_stochastic_round", bf16StochasticRound, adam, onlyAdam);
    Check.acts("adam_beta1", adamBeta1 != DEFAULT_BETA1, adam, onlyAdam);
    Check.acts("adam_beta2", adamBeta2 != DEFAULT_BETA2, adam, onlyAdam);
    Check.acts("adam_epsilon", adamEpsilon != DEFAULT_EPSILON, adam, onlyAdam);
    boolean rmsprop = optim == OptimizerType.RMSPROP;
    String onlyRmsprop = "only optim rmsprop reads it, not %s; remove it".formatted(optim);
    Check.acts("rmsprop_alpha", rmspropAlpha != DEFAULT_RMSPROP_ALPHA, rmsprop, onlyRmsprop);
    Check.acts("rmsprop_epsilon", rmspropEpsilon != DEFAULT_EPSILON, rmsprop, onlyRmsprop);
    Check.acts(
        "momentum",
        momentum != 0,
        !adam,
        "only optim sgd and rmsprop read it; AdamW's is adam_beta1; remove it");

    if (warmupSteps > 0 && warmupRatio > 0) {
      throw new ConfigException(
          "warmup_ratio", "says the same as warmup_steps; remove one of them");
    }
    boolean warmup = warmupSteps > 0 || warmupRatio > 0;
    Check.acts(
        warmupRatio > 0 ? "warmup_ratio" : "warmup_steps",
        warmup,
        lrSchedulerType != LearningRateSchedule.CONSTANT,
        "lr_scheduler_type constant has no warm-up; use constant_with_warmup");
    Check.acts(
        "lr_scheduler_type",
        lrSchedulerType == LearningRateSchedule.CONSTANT_WITH_WARMUP,
        warmup,
        "constant_with_warmup without warmup_steps or warmup_ratio is constant; set one of them");
  }

  /** Bytes that the optimizer keeps for each weight, but for scales of 8-bit moments. */
  int bytesPerWeight(DType weights) {
    int remainder = weights == DType.BF16 && !bf16StochasticRound ? DType.U16.sizeBytes() : 0;
    int moments =
        switch (optim) {
          case ADAMW_TORCH, ADAMW_TORCH_FUSED -> 2 * DType.F32.sizeBytes();
          case ADAMW_8BIT -> 2 * DType.U8.sizeBytes();
          case RMSPROP -> (momentum > 0 ? 2 : 1) * DType.F32.sizeBytes();
          case SGD -> (momentum > 0 ? 1 : 0) * DType.F32.sizeBytes();
        };
    return moments + remainder;
  }

  /** Bytes that the optimizer keeps for so many weights. */
  long sizeBytes(long weights, DType dtype) {
    long scales = optim == OptimizerType.ADAMW_8BIT ? 2 * AdamW8bit.scales(weights) : 0;
    long normAndScale = 2;
    return weights * bytesPerWeight(dtype) + (scales + normAndScale) * DType.F32.sizeBytes();
  }

  /** What holds only together with the precision of a run, as far as that is known. */
  void check(PrecisionChoice chosen) {
    checkRounding(chosen != PrecisionChoice.FLOAT32, chosen);
  }

  /** The same, on the device of the run. */
  void check(ResolvedPrecision resolved) {
    checkRounding(resolved.precision() == Precision.BFLOAT16, resolved);
  }

  private void checkRounding(boolean rounds, Object weights) {
    Check.acts(
        "bf16_stochastic_round",
        bf16StochasticRound,
        rounds,
        "weights are %s, which are not rounded; add bf16 or remove it".formatted(weights));
  }

  /** Steps of warm-up in a run of {@code totalSteps}, rounded up as transformers does. */
  public long warmupStepCount(long totalSteps) {
    if (warmupSteps >= 1) {
      return (long) warmupSteps;
    }
    return (long) Math.ceil(totalSteps * (warmupSteps > 0 ? warmupSteps : warmupRatio));
  }
}
