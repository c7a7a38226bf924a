package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Stochastic gradient descent as {@code torch.optim.SGD}, over a whole slab. */
public final class Sgd {
  private static final Check CHECK = new Check("sgd");

  private Sgd() {}

  /**
   *
   *
   * <pre>
   *   g = gradient * gradientScale + weightDecay w              decay: first decayCount elements only
   *   b = first step ? g : momentum b + g
   *   w = w - learningRate b
   * </pre>
   *
   * @param weight [in,out] {@code [count]} f32 or bf16
   * @param remainder [in,out] {@code [count]} u16, with bf16: see {@link Master}; or null
   * @param buffer [in,out] {@code [count]} f32; null if momentum is 0
   * @param gradient {@code [count]} f32
   * @param gradientScale {@code [1]} f32
   */
  public static void step(
      Backend backend,
      Tensor weight,
      @Nullable Tensor remainder,
      @Nullable Tensor buffer,
      Tensor gradient,
      Tensor gradientScale,
      long decayCount,
      SgdStep step) {
    Master.checkWeight(CHECK, weight, remainder);
    Master.checkGradient(CHECK, weight, gradient, gradientScale, decayCount);
    CHECK.tensor("buffer", buffer, DType.F32, dim("count", weight.dim(0)));
    CHECK.that(
        (buffer == null) == (step.momentum() == 0),
        "momentum is %s %s a buffer",
        step.momentum(),
        buffer == null ? "without" : "with");
    backend
        .kernels()
        .sgd(
            weight,
            remainder,
            buffer,
            gradient,
            gradientScale,
            weight.dim(0),
            decayCount,
            step.learningRate(),
            step.momentum(),
            step.weightDecay(),
            step.first() ? 1 : 0,
            weight.dtype());
  }
}
