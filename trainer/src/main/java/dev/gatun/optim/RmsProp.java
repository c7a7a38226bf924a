package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.model.Parameters;
import dev.gatun.op.RmsPropStep;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** RMSprop, the DPO paper's optimizer, as {@code torch.optim.RMSprop} computes it. */
public final class RmsProp extends Optimizer {
  /** Hyper-parameters; weight decay is part of the gradient and skips norms and biases. */
  public record Options(double alpha, double epsilon, double momentum, double weightDecay) {}

  private final Options options;
  private final Tensor squareAverage;
  private final @Nullable Tensor momentum;

  public RmsProp(Backend backend, Parameters weights, Parameters gradients, Options options) {
    super(backend, weights, gradients, Bf16Steps.EXACT);
    this.options = options;
    this.squareAverage = slab("square average", DType.F32);
    this.momentum = options.momentum() == 0 ? null : slab("momentum", DType.F32);
  }

  @Override
  public void update(double learningRate) {
    dev.gatun.op.RmsProp.step(
        backend,
        weights.all(),
        remainder,
        squareAverage,
        momentum,
        gradients.all(),
        gradientScale,
        weights.layout().decayCount(),
        new RmsPropStep(
            learningRate,
            options.alpha(),
            options.epsilon(),
            options.momentum(),
            options.weightDecay()));
  }
}
