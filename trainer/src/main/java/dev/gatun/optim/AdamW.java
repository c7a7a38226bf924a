package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.model.Parameters;
import dev.gatun.op.AdamWStep;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.SplittableRandom;

/** AdamW (arXiv:1711.05101) as {@code torch.optim.AdamW} computes it. */
public final class AdamW extends Optimizer {
  /**
   * Hyper-parameters.
   *
   * @param weightDecay decoupled; skips norms and biases
   * @param bf16Steps of bf16 weights; f32 weights are exact
   * @param seed of stochastic rounding
   */
  public record Options(
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay,
      Bf16Steps bf16Steps,
      long seed) {
    /** The numbers of a step, counted from 1, of weights of this type. */
    AdamWStep step(double learningRate, int number, DType weights) {
      boolean stochastic = weights == DType.BF16 && bf16Steps == Bf16Steps.STOCHASTIC;
      return new AdamWStep(
          learningRate,
          beta1,
          beta2,
          epsilon,
          weightDecay,
          1 - Math.pow(beta1, number),
          1 - Math.pow(beta2, number),
          stochastic ? roundingSeed(number) : 0);
    }

    /** Other bits each step; 0 would mean none. */
    private long roundingSeed(int step) {
      long mixed = new SplittableRandom(seed + step).nextLong();
      return mixed == 0 ? 1 : mixed;
    }
  }

  private final Options options;
  private final Tensor firstMoment;
  private final Tensor secondMoment;
  private int steps;

  public AdamW(Backend backend, Parameters weights, Parameters gradients, Options options) {
    super(backend, weights, gradients, options.bf16Steps());
    this.options = options;
    this.firstMoment = slab("first moment", DType.F32);
    this.secondMoment = slab("second moment", DType.F32);
  }

  @Override
  public void update(double learningRate) {
    steps++;
    dev.gatun.op.AdamW.step(
        backend,
        weights.all(),
        remainder,
        firstMoment,
        secondMoment,
        gradients.all(),
        gradientScale,
        weights.layout().decayCount(),
        options.step(learningRate, steps, weights.dtype()));
  }
}
