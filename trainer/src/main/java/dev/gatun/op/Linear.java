package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.backend.Transpose;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = x W^T + bias} with W {@code [out, in]}, or {@code y = x W + bias} with W {@code [in,
 * out]}. Sums are f32. Saved: x.
 *
 * <p>Rows of x, y and their gradients may have gaps, and dimensions behind the first count as one:
 * {@code [tokens, heads, headDim]} is {@code [tokens, in]}.
 */
public final class Linear {
  private static final Check CHECK = new Check("linear");

  private Linear() {}

  /**
   * Multiplies.
   *
   * @param y [out] {@code [tokens, out]}; type of x, or f32
   * @param x {@code [tokens, in]}
   * @param weight {@code [out, in]} or {@code [in, out]}, type of x
   * @param bias {@code [out]}, type of x; or null
   */
  public static void forward(
      Backend backend,
      Tensor y,
      Tensor x,
      Tensor weight,
      @Nullable Tensor bias,
      WeightLayout layout) {
    Tensor rows = x.matrix();
    CHECK.storage("x", x);
    checkWeight("weight", weight, x.dtype(), layout, "x", rows.dim(1));
    long out = outputs(weight, layout);
    checkOutput("y", y, x.dtype(), rows.dim(0), "out", out);
    CHECK.tensor("bias", bias, x.dtype(), dim("out", out));
    backend.matmul(
        y.matrix(),
        rows,
        Transpose.NO,
        weight,
        layout == WeightLayout.OUT_IN ? Transpose.YES : Transpose.NO,
        bias,
        Accumulate.OVERWRITE);
  }

  /**
   * {@code dX = dY W}, or {@code dX += dY W}.
   *
   * @param dX [out], or [in,out] with {@link Accumulate#ADD}: {@code [tokens, in]}; type of dY, or
   *     f32
   * @param dY {@code [tokens, out]}
   */
  public static void backwardInput(
      Backend backend,
      Tensor dX,
      Tensor dY,
      Tensor weight,
      WeightLayout layout,
      Accumulate accumulate) {
    Tensor rows = dY.matrix();
    CHECK.storage("dY", dY);
    CHECK.rank("weight", weight, words(layout));
    long in = inputs(weight, layout);
    checkWeight("weight", weight, dY.dtype(), layout, "dX", in);
    CHECK.that(
        rows.dim(1) == outputs(weight, layout),
        "dY is %s, expected [tokens=%d, out=%d]",
        dY,
        rows.dim(0),
        outputs(weight, layout));
    checkOutput("dX", dX, dY.dtype(), rows.dim(0), "in", in);
    backend.matmul(
        dX.matrix(),
        rows,
        Transpose.NO,
        weight,
        layout == WeightLayout.OUT_IN ? Transpose.NO : Transpose.YES,
        null,
        accumulate);
  }

  /**
   * {@code dW += dY^T x}.
   *
   * @param dWeight [in,out] shape of the weight, f32
   * @param dY {@code [tokens, out]}
   * @param x {@code [tokens, in]}, type of dY
   */
  public static void backwardWeight(
      Backend backend, Tensor dWeight, Tensor dY, Tensor x, WeightLayout layout) {
    Tensor dYRows = dY.matrix();
    Tensor xRows = x.matrix();
    CHECK.storage("dY", dY);
    CHECK.strided("x", xRows, dY.dtype(), dim("tokens", dYRows.dim(0)), dim("in", xRows.dim(1)));
    Check.Dim out = dim("out", dYRows.dim(1));
    Check.Dim in = dim("in", xRows.dim(1));
    if (layout == WeightLayout.OUT_IN) {
      CHECK.tensor("dWeight", dWeight, DType.F32, out, in);
      backend.matmul(dWeight, dYRows, Transpose.YES, xRows, Transpose.NO, null, Accumulate.ADD);
    } else {
      CHECK.tensor("dWeight", dWeight, DType.F32, in, out);
      backend.matmul(dWeight, xRows, Transpose.YES, dYRows, Transpose.NO, null, Accumulate.ADD);
    }
  }

  /**
   * {@code dBias += sum over tokens of dY}.
   *
   * @param dBias [in,out] {@code [out]} f32
   * @param dY {@code [tokens, out]}
   */
  public static void backwardBias(Backend backend, Tensor dBias, Tensor dY) {
    Tensor rows = dY.matrix();
    CHECK.storage("dY", dY);
    CHECK.tensor("dBias", dBias, DType.F32, dim("out", rows.dim(1)));
    backend
        .kernels()
        .biasBackward(dBias, dY, rows.dim(0), rows.dim(1), rows.rowStride(), dY.dtype());
  }

  private static void checkWeight(
      String role, Tensor weight, DType dtype, WeightLayout layout, String xRole, long in) {
    CHECK.rank(role, weight, words(layout));
    CHECK.type(role, weight, dtype);
    CHECK.contiguous(role, weight);
    CHECK.that(
        inputs(weight, layout) == in,
        "%s is %s, expected in=%d as %s has",
        role,
        weight,
        in,
        xRole);
  }

  private static void checkOutput(
      String role, Tensor tensor, DType dtype, long tokens, String word, long columns) {
    DType expected = tensor.dtype() == DType.F32 ? DType.F32 : dtype;
    Tensor rows = tensor.matrix();
    CHECK.strided(role, rows, expected, dim("tokens", tokens), dim(word, columns));
  }

  private static String[] words(WeightLayout layout) {
    return layout == WeightLayout.OUT_IN ? new String[] {"out", "in"} : new String[] {"in", "out"};
  }

  private static long outputs(Tensor weight, WeightLayout layout) {
    return weight.dim(layout == WeightLayout.OUT_IN ? 0 : 1);
  }

  private static long inputs(Tensor weight, WeightLayout layout) {
    return weight.dim(layout == WeightLayout.OUT_IN ? 1 : 0);
  }
}
