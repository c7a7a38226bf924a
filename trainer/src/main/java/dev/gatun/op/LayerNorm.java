package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Layer normalization (arXiv:1607.06450), fused with the residual addition before it.
 *
 * <pre>
 *   s    = x + delta
 *   mean = mean(s)
 *   rstd = 1 / sqrt(mean((s - mean)^2) + eps)
 *   y    = (s - mean) * rstd * weight + bias
 * </pre>
 *
 * All of {@code [tokens, hidden]}, contiguous. Saved: s, mean, rstd.
 */
public final class LayerNorm {
  private static final Check CHECK = new Check("layernorm");

  private LayerNorm() {}

  /**
   * Adds and normalizes.
   *
   * @param y [out] {@code [tokens, hidden]}
   * @param sum [out] s; may be x or delta. With delta only
   * @param mean [out] {@code [tokens]} f32; null if no backward follows
   * @param rstd [out] {@code [tokens]} f32; null if no backward follows
   * @param x {@code [tokens, hidden]}
   * @param delta {@code [tokens, hidden]}; null for s = x
   * @param weight {@code [hidden]}
   * @param bias {@code [hidden]}
   */
  public static void forward(
      Backend backend,
      Tensor y,
      @Nullable Tensor sum,
      @Nullable Tensor mean,
      @Nullable Tensor rstd,
      Tensor x,
      @Nullable Tensor delta,
      Tensor weight,
      Tensor bias,
      float eps) {
    checkInput(x, weight, mean, rstd);
    CHECK.like("y", y, "x", x);
    CHECK.together("sum", sum, "delta", delta);
    CHECK.together("mean", mean, "rstd", rstd);
    CHECK.like("sum", sum, "x", x);
    CHECK.like("delta", delta, "x", x);
    CHECK.tensor("bias", bias, x.dtype(), dim("hidden", x.dim(1)));
    backend
        .kernels()
        .layernormForward(
            y, sum, mean, rstd, x, delta, weight, bias, x.dim(0), x.dim(1), eps, x.dtype());
  }

  /**
   *
   *
   * <pre>
   *   h   = (x - mean) * rstd
   *   g   = dY * weight
   *   dX  = dResidual + rstd * (g - mean(g) - h * mean(g * h))
   *   dWeight += sum over tokens of dY * h
   *   dBias   += sum over tokens of dY
   * </pre>
   *
   * @param dX [out] {@code [tokens, hidden]}; may be dY
   * @param dWeight [in,out] {@code [hidden]} f32
   * @param dBias [in,out] {@code [hidden]} f32
   * @param x what was normalized: s
   * @param dResidual gradient that reaches s past the norm; may be dX
   */
  public static void backward(
      Backend backend,
      Tensor dX,
      Tensor dWeight,
      Tensor dBias,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor dResidual) {
    checkInput(x, weight, mean, rstd);
    CHECK.like("dX", dX, "x", x);
    CHECK.like("dY", dY, "x", x);
    CHECK.like("dResidual", dResidual, "x", x);
    CHECK.tensor("dWeight", dWeight, DType.F32, dim("hidden", x.dim(1)));
    CHECK.tensor("dBias", dBias, DType.F32, dim("hidden", x.dim(1)));
    backend
        .kernels()
        .layernormBackward(
            dX, dWeight, dBias, dY, x, weight, mean, rstd, dResidual, x.dim(0), x.dim(1),
            x.dtype());
  }

  private static void checkInput(
      Tensor x, Tensor weight, @Nullable Tensor mean, @Nullable Tensor rstd) {
    CHECK.storage("x", x);
    CHECK.rank("weight", weight, "hidden");
    Check.Dim tokens = dim("tokens", x.rank() == 0 ? 1 : x.dim(0));
    Check.Dim hidden = dim("hidden", weight.dim(0));
    CHECK.tensor("x", x, x.dtype(), tokens, hidden);
    CHECK.tensor("weight", weight, x.dtype(), hidden);
    CHECK.tensor("mean", mean, DType.F32, tokens);
    CHECK.tensor("rstd", rstd, DType.F32, tokens);
  }
}
