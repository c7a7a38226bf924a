package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** RMSprop as {@code torch.optim.RMSprop}, not centered, over a whole slab. */
public final class RmsProp {
  private static final Check CHECK = new Check("rmsprop");

  private RmsProp() {}

  /**
   *
   *
   * <pre>
   *   g = gradient * gradientScale + weightDecay w              decay: first decayCount elements only
   *   v = alpha v + (1 - alpha) g^2
   *   b = momentum b + g / (sqrt(v) + eps)
   *   w = w - learningRate b
   * </pre>
   *
   * @param weight [in,out] {@code [count]} f32 or bf16
   * @param remainder [in,out] {@code [count]} u16, with bf16: see {@link Master}; or null
   * @param squareAverage [in,out] {@code [count]} f32
   * @param buffer [in,out] {@code [count]} f32; null if momentum is 0
   * @param gradient {@code [count]} f32
   * @param gradientScale {@code [1]} f32
   */
  public static void step(
      Backend backend,
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor squareAverage,
      @Nullable Tensor buffer,
      Tensor gradient,
      Tensor gradientScale,
      long decayCount,
      RmsPropStep step) {
    Master.checkWeight(CHECK, weight, remainder);
    Master.checkGradient(CHECK, weight, gradient, gradientScale, decayCount);
    CHECK.tensor("squareAverage", squareAverage, DType.F32, dim("count", weight.dim(0)));
    CHECK.tensor("buffer", buffer, DType.F32, dim("count", weight.dim(0)));
    CHECK.that(
        (buffer == null) == (step.momentum() == 0),
        "momentum is %s %s a buffer",
        step.momentum(),
        buffer == null ? "without" : "with");
    backend
        .kernels()
        .rmsprop(
            weight,
            remainder,
            squareAverage,
            buffer,
            gradient,
            gradientScale,
            weight.dim(0),
            decayCount,
            step.learningRate(),
            step.alpha(),
            step.eps(),
            step.momentum(),
            step.weightDecay(),
            weight.dtype());
  }
}
