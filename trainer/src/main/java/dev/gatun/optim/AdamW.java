package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.model.Parameters;
import dev.gatun.op.AdamWStep;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;

/** AdamW (arXiv:1711.05101) as {@code torch.optim.AdamW} computes it. */
public final class AdamW extends Optimizer {
  /** Hyper-parameters; weight decay is decoupled and skips norms and biases. */
  public record Options(double beta1, double beta2, double epsilon, double weightDecay) {}

  private final Options options;
  private final Tensor firstMoment;
  private final Tensor secondMoment;
  private int steps;

  public AdamW(Backend backend, Parameters weights, Parameters gradients, Options options) {
    super(backend, weights, gradients);
    this.options = options;
    this.firstMoment = slab("first moment", DType.F32);
    this.secondMoment = slab("second moment", DType.F32);
  }

  @Override
  void update(double learningRate) {
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
        new AdamWStep(
            learningRate,
            options.beta1(),
            options.beta2(),
            options.epsilon(),
            options.weightDecay(),
            1 - Math.pow(options.beta1(), steps),
            1 - Math.pow(options.beta2(), steps)));
  }
}
