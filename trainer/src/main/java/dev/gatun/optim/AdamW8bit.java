package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.model.Parameters;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;

/** {@link AdamW} with moments of 8 bits (arXiv:2110.02861): 2 bytes per weight instead of 8. */
public final class AdamW8bit extends Optimizer {
  private final AdamW.Options options;
  private final Tensor firstMoment;
  private final Tensor secondMoment;
  private final Tensor firstScale;
  private final Tensor secondScale;
  private int steps;

  public AdamW8bit(
      Backend backend, Parameters weights, Parameters gradients, AdamW.Options options) {
    super(backend, weights, gradients, options.bf16Steps());
    this.options = options;
    long scales = dev.gatun.op.AdamW8bit.scales(weights.layout().elementCount());
    this.firstMoment = slab("first moment", DType.U8);
    this.secondMoment = slab("second moment", DType.U8);
    this.firstScale = tensor("scales of the first moment", DType.F32, scales);
    this.secondScale = tensor("scales of the second moment", DType.F32, scales);
  }

  @Override
  public void update(double learningRate) {
    steps++;
    dev.gatun.op.AdamW8bit.step(
        backend,
        weights.all(),
        remainder,
        firstMoment,
        secondMoment,
        firstScale,
        secondScale,
        gradients.all(),
        gradientScale,
        weights.layout().decayCount(),
        options.step(learningRate, steps, weights.dtype()));
  }
}
