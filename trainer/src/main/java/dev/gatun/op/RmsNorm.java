package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Root mean square normalization (arXiv:1910.07467), fused with the residual addition before it.
 *
 * <pre>
 *   s    = x + delta
 *   rstd = 1 / sqrt(mean(s^2) + eps)
 *   y    = s * rstd * (weight + weightOffset)
 * </pre>
 *
 * over the last dimension of {@code [tokens, hidden]}, or of {@code [tokens, heads, headDim]} (the
 * norm of queries and keys), whose rows may have gaps. Saved: s and rstd.
 */
public final class RmsNorm {
  private static final Check CHECK = new Check("rmsnorm");

  private RmsNorm() {}

  /**
   * Adds and normalizes.
   *
   * @param y [out] shape of x
   * @param sum [out] s, shape and row stride of x; may be x or delta. With delta only
   * @param rstd [out] {@code [tokens]} or {@code [tokens, heads]} f32; null if no backward follows
   * @param x {@code [tokens, hidden]} or {@code [tokens, heads, headDim]}
   * @param delta shape and row stride of x; null for s = x
   * @param weight {@code [hidden]} or {@code [headDim]}
   * @param weightOffset 1 where the family stores weight - 1 (Gemma), else 0
   */
  public static void forward(
      Backend backend,
      Tensor y,
      @Nullable Tensor sum,
      @Nullable Tensor rstd,
      Tensor x,
      @Nullable Tensor delta,
      Tensor weight,
      float eps,
      float weightOffset) {
    checkInput(x, weight, rstd);
    CHECK.stridedLike("y", y, "x", x);
    CHECK.together("sum", sum, "delta", delta);
    CHECK.stridedLike("sum", sum, "x", x);
    CHECK.stridedLike("delta", delta, "x", x);
    checkStride("sum", sum, x);
    checkStride("delta", delta, x);
    backend
        .kernels()
        .rmsnormForward(
            y,
            sum,
            rstd,
            x,
            delta,
            weight,
            x.dim(0),
            groups(x),
            weight.dim(0),
            y.rowStride(),
            x.rowStride(),
            eps,
            weightOffset,
            x.dtype());
  }

  /**
   *
   *
   * <pre>
   *   g   = dY * (weight + weightOffset)
   *   dX  = dResidual + rstd * (g - x * rstd^2 * mean(g * x))
   *   dWeight += sum over tokens (and heads) of dY * x * rstd
   * </pre>
   *
   * @param dX [out] shape of x; may be dY
   * @param dWeight [in,out] shape of weight, f32
   * @param x what was normalized: s
   * @param dResidual gradient that reaches s past the norm; shape and row stride of dX, may be dX
   */
  public static void backward(
      Backend backend,
      Tensor dX,
      Tensor dWeight,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      @Nullable Tensor dResidual,
      float weightOffset) {
    checkInput(x, weight, rstd);
    CHECK.stridedLike("dX", dX, "x", x);
    CHECK.stridedLike("dY", dY, "x", x);
    CHECK.stridedLike("dResidual", dResidual, "x", x);
    checkStride("dResidual", dResidual, dX);
    CHECK.tensor("dWeight", dWeight, DType.F32, dim(lastWord(x), weight.dim(0)));
    backend
        .kernels()
        .rmsnormBackward(
            dX,
            dWeight,
            dY,
            x,
            weight,
            rstd,
            dResidual,
            x.dim(0),
            groups(x),
            weight.dim(0),
            dX.rowStride(),
            dY.rowStride(),
            x.rowStride(),
            weightOffset,
            x.dtype());
  }

  private static void checkInput(Tensor x, Tensor weight, @Nullable Tensor rstd) {
    CHECK.storage("x", x);
    CHECK.rank("weight", weight, "hidden");
    Check.Dim tokens = dim("tokens", x.rank() == 0 ? 1 : x.dim(0));
    Check.Dim last = dim(lastWord(x), weight.dim(0));
    CHECK.tensor("weight", weight, x.dtype(), last);
    if (x.rank() == 3) {
      Check.Dim heads = dim("heads", x.dim(1));
      CHECK.strided("x", x, x.dtype(), tokens, heads, last);
      CHECK.tensor("rstd", rstd, DType.F32, tokens, heads);
    } else {
      CHECK.strided("x", x, x.dtype(), tokens, last);
      CHECK.tensor("rstd", rstd, DType.F32, tokens);
    }
  }

  /** The kernel has one stride for x, delta and sum, and one for dX and dResidual. */
  private static void checkStride(String role, @Nullable Tensor tensor, Tensor model) {
    CHECK.that(
        tensor == null || tensor.rowStride() == model.rowStride(),
        "%s has %d elements between rows, expected %d",
        role,
        tensor == null ? 0 : tensor.rowStride(),
        model.rowStride());
  }

  private static String lastWord(Tensor x) {
    return x.rank() == 3 ? "headDim" : "hidden";
  }

  private static long groups(Tensor x) {
    return x.rank() == 3 ? x.dim(1) : 1;
  }
}
