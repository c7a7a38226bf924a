package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.model.Parameters;
import dev.gatun.op.SgdStep;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Stochastic gradient descent as {@code torch.optim.SGD} computes it. */
public final class Sgd extends Optimizer {
  /** Hyper-parameters; weight decay is part of the gradient and skips norms and biases. */
  public record Options(double momentum, double weightDecay) {}

  private final Options options;
  private final @Nullable Tensor momentum;
  private boolean first = true;

  public Sgd(Backend backend, Parameters weights, Parameters gradients, Options options) {
    super(backend, weights, gradients, Bf16Steps.EXACT);
    this.options = options;
    this.momentum = options.momentum() == 0 ? null : slab("momentum", DType.F32);
  }

  @Override
  public void update(double learningRate) {
    dev.gatun.op.Sgd.step(
        backend,
        weights.all(),
        remainder,
        momentum,
        gradients.all(),
        gradientScale,
        weights.layout().decayCount(),
        new SgdStep(learningRate, options.momentum(), options.weightDecay(), first));
    first = false;
  }
}
