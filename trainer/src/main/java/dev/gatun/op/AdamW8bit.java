package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * {@link AdamW} with moments of 8 bits (arXiv:2110.02861): blocks of {@value #BLOCK} elements share
 * a scale. The step itself is computed with the moments before they are rounded.
 */
public final class AdamW8bit {
  /** Elements that share a scale: {@code GATUN_MOMENT_BLOCK} of gatun_kernels.h. */
  public static final int BLOCK = 256;

  private static final Check CHECK = new Check("adamw_8bit");

  private AdamW8bit() {}

  /** Scales that {@code count} moments have. */
  public static long scales(long count) {
    return Math.ceilDiv(count, BLOCK);
  }

  /**
   * One step.
   *
   * @param weight [in,out] {@code [count]} f32 or bf16
   * @param remainder [in,out] {@code [count]} u16, with bf16: see {@link Master}; or null
   * @param firstMoment [in,out] {@code [count]} u8, zeros at the start
   * @param secondMoment [in,out] {@code [count]} u8, zeros at the start
   * @param firstScale [in,out] {@code [scales(count)]} f32
   * @param secondScale [in,out] {@code [scales(count)]} f32
   * @param gradient {@code [count]} f32
   * @param gradientScale {@code [1]} f32
   */
  public static void step(
      Backend backend,
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor firstMoment,
      Tensor secondMoment,
      Tensor firstScale,
      Tensor secondScale,
      Tensor gradient,
      Tensor gradientScale,
      long decayCount,
      AdamWStep step) {
    Master.checkWeight(CHECK, weight, remainder);
    Master.checkGradient(CHECK, weight, gradient, gradientScale, decayCount);
    long count = weight.dim(0);
    CHECK.tensor("firstMoment", firstMoment, DType.U8, dim("count", count));
    CHECK.tensor("secondMoment", secondMoment, DType.U8, dim("count", count));
    CHECK.tensor("firstScale", firstScale, DType.F32, dim("scales", scales(count)));
    CHECK.tensor("secondScale", secondScale, DType.F32, dim("scales", scales(count)));
    backend
        .kernels()
        .adamw8bit(
            weight,
            remainder,
            firstMoment,
            secondMoment,
            firstScale,
            secondScale,
            gradient,
            gradientScale,
            count,
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
