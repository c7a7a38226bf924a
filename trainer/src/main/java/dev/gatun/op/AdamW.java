package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** AdamW (arXiv:1711.05101) as {@code torch.optim.AdamW}, over a whole slab. */
public final class AdamW {
  private static final Check CHECK = new Check("adamw");

  private AdamW() {}

  /**
   *
   *
   * <pre>
   *   g = gradient * gradientScale
   *   w = w (1 - learningRate * weightDecay)                    first decayCount elements only
   *   m = beta1 m + (1 - beta1) g
   *   v = beta2 v + (1 - beta2) g^2
   *   w = w - learningRate / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
   * </pre>
   *
   * @param weight [in,out] {@code [count]} f32 or bf16
   * @param remainder [in,out] {@code [count]} u16, with bf16: see {@link Master}; or null
   * @param firstMoment [in,out] {@code [count]} f32
   * @param secondMoment [in,out] {@code [count]} f32
   * @param gradient {@code [count]} f32
   * @param gradientScale {@code [1]} f32
   */
  public static void step(
      Backend backend,
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor firstMoment,
      Tensor secondMoment,
      Tensor gradient,
      Tensor gradientScale,
      long decayCount,
      AdamWStep step) {
    Master.checkWeight(CHECK, weight, remainder);
    Master.checkGradient(CHECK, weight, gradient, gradientScale, decayCount);
    CHECK.tensor("firstMoment", firstMoment, DType.F32, dim("count", weight.dim(0)));
    CHECK.tensor("secondMoment", secondMoment, DType.F32, dim("count", weight.dim(0)));
    backend
        .kernels()
        .adamw(
            weight,
            remainder,
            firstMoment,
            secondMoment,
            gradient,
            gradientScale,
            weight.dim(0),
            decayCount,
            step.learningRate(),
            step.beta1(),
            step.beta2(),
            step.eps(),
            step.weightDecay(),
            step.correction1(),
            step.correction2(),
            step.roundingSeed(),
            weight.dtype());
  }
}
