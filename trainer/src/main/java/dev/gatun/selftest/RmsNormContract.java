package dev.gatun.selftest;

import dev.gatun.op.RmsNorm;
import dev.gatun.op.reference.RmsNormReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What {@link RmsNorm} must do. */
public final class RmsNormContract {
  private static final float EPS = 1e-5f;

  /** Where x + delta goes. */
  public enum Sum {
    /** There is no delta. */
    NONE,
    APART,
    OVER_X,
    OVER_DELTA
  }

  /** Where dX goes. */
  public enum Target {
    /** Without dResidual. */
    APART,
    OVER_D_Y,
    OVER_D_RESIDUAL
  }

  private RmsNormContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int dim : extent.widths()) {
      for (int tokens : extent.rows(dim)) {
        for (Sum sum : Sum.values()) {
          String form = "[%d, %d], sum %s".formatted(tokens, dim, sum);
          cases.add(new OpCase(form, bench -> forward(bench, tokens, dim, sum, 1)));
        }
        for (Target target : Target.values()) {
          String form = "[%d, %d], dX %s".formatted(tokens, dim, target);
          cases.add(new OpCase(form, bench -> backward(bench, tokens, dim, target, 0)));
        }
      }
    }
    cases.add(new OpCase("strided heads", bench -> heads(bench, 7, 4, 18)));
    return cases;
  }

  /** The norm of x, or of x + delta. */
  public static void forward(Workbench bench, int tokens, int dim, Sum sum, float offset) {
    bench.runs("rmsnorm_forward");
    Tensor x = bench.normal("x", bench.dtype(), tokens, dim);
    Tensor delta = sum == Sum.NONE ? null : bench.normal("delta", bench.dtype(), tokens, dim);
    Tensor weight = bench.normal("weight", bench.dtype(), dim);
    Tensor y = bench.output("y", bench.dtype(), tokens, dim);
    Tensor rstd = bench.output("rstd", DType.F32, tokens);
    Tensor total =
        switch (sum) {
          case NONE -> null;
          case APART -> bench.output("sum", bench.dtype(), tokens, dim);
          case OVER_X -> x;
          case OVER_DELTA -> delta;
        };
    double[] normalized = bench.values(x);
    double[] added = delta == null ? new double[normalized.length] : bench.values(delta);
    RmsNorm.forward(bench.backend(), y, total, rstd, x, delta, weight, EPS, offset);
    if (total != null) {
      Arrays.setAll(normalized, i -> normalized[i] + added[i]);
      bench.assertClose(total, normalized, 0, 0);
    }
    // What is normalized is the sum as stored.
    checkForward(
        bench,
        y,
        rstd,
        total == null ? normalized : bench.values(total),
        bench.values(weight),
        offset);
  }

  /** The gradients. */
  public static void backward(Workbench bench, int tokens, int dim, Target target, float offset) {
    bench.runs("rmsnorm_backward");
    Tensor x = bench.normal("x", bench.dtype(), tokens, dim);
    Tensor weight = bench.normal("weight", bench.dtype(), dim);
    double[] rstds = RmsNormReference.rstd(bench.values(x), dim, EPS);
    Tensor rstd = bench.given("rstd", DType.F32, rstds, tokens);
    Tensor dY = bench.normal("dY", bench.dtype(), tokens, dim);
    Tensor dWeight = bench.normal("dWeight", DType.F32, dim);
    Tensor dResidual =
        target == Target.APART ? null : bench.normal("dResidual", bench.dtype(), tokens, dim);
    Tensor dX =
        switch (target) {
          case APART -> bench.output("dX", bench.dtype(), tokens, dim);
          case OVER_D_Y -> dY;
          case OVER_D_RESIDUAL -> dResidual;
        };
    if (dX != null) {
      checkBackward(bench, dX, dWeight, dY, x, weight, rstd, dResidual, offset);
    }
  }

  /** Both passes over groups in rows with gaps: the norm of queries inside a fused projection. */
  public static void heads(Workbench bench, int tokens, int heads, int dim) {
    bench.runs("rmsnorm_forward");
    DType dtype = bench.dtype();
    Tensor x = bench.stridedNormal("x", dtype, 3, 5, tokens, heads, dim);
    Tensor weight = bench.normal("weight", dtype, dim);
    Tensor y = bench.strided("y", dtype, 0, 2, tokens, heads, dim);
    Tensor rstd = bench.output("rstd", DType.F32, tokens, heads);
    RmsNorm.forward(bench.backend(), y, null, rstd, x, null, weight, EPS, 0);
    checkForward(bench, y, rstd, bench.values(x), bench.values(weight), 0);

    bench.runs("rmsnorm_backward");
    Tensor dY = bench.stridedNormal("dY", dtype, 1, 1, tokens, heads, dim);
    Tensor dWeight = bench.normal("dWeight", DType.F32, dim);
    Tensor dX = bench.strided("dX", dtype, 2, 0, tokens, heads, dim);
    checkBackward(bench, dX, dWeight, dY, x, weight, rstd, null, 0);
  }

  private static void checkForward(
      Workbench bench, Tensor y, Tensor rstd, double[] x, double[] weight, double offset) {
    double[] expected = RmsNormReference.forward(x, weight, EPS, offset);
    double[] expectedRstd = RmsNormReference.rstd(x, weight.length, EPS);
    double[] magnitude = new double[expected.length];
    // weight + offset may cancel.
    Arrays.setAll(
        magnitude,
        i ->
            Math.abs(x[i])
                * expectedRstd[i / weight.length]
                * (Math.abs(weight[i % weight.length]) + offset));
    // y is a product of x, rstd and weight + offset: 3 roundings, and half the relative error of
    // the sum of squares, which adds dim non-negative terms: at most dim + 2 roundings whatever
    // their order.
    double roundings = 8 + weight.length / 2.0;
    bench.assertClose(y, expected, roundings, magnitude);
    bench.assertClose(rstd, expectedRstd, roundings, Workbench.largest(expectedRstd));
  }

  private static void checkBackward(
      Workbench bench,
      Tensor dX,
      Tensor dWeight,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      @Nullable Tensor dResidual,
      float offset) {
    double[] weights = bench.values(weight);
    double[] xs = bench.values(x);
    double[] dYs = bench.values(dY);
    double[] expectedDWeight = bench.values(dWeight);
    double[] residual = dResidual == null ? new double[xs.length] : bench.values(dResidual);
    double[] expected = RmsNormReference.backward(expectedDWeight, dYs, xs, weights, EPS, offset);
    Arrays.setAll(expected, i -> expected[i] + residual[i]);
    double[] rstds = bench.values(rstd);
    RmsNorm.backward(bench.backend(), dX, dWeight, dY, x, weight, rstd, dResidual, offset);

    int dim = weights.length;
    int rows = xs.length / dim;
    double[] magnitude = new double[xs.length];
    double[] sumMagnitude = new double[dim];
    for (int row = 0; row < rows; row++) {
      double mean = 0;
      for (int i = 0; i < dim; i++) {
        int at = row * dim + i;
        double h = Math.abs(xs[at]) * rstds[row];
        magnitude[at] = Math.abs(dYs[at]) * (Math.abs(weights[i]) + offset);
        mean += magnitude[at] * h / dim;
        sumMagnitude[i] += Math.abs(dYs[at]) * h;
      }
      for (int i = 0; i < dim; i++) {
        int at = row * dim + i;
        magnitude[at] =
            Math.abs(residual[at])
                + rstds[row] * (magnitude[at] + Math.abs(xs[at]) * rstds[row] * mean);
      }
    }
    // Besides the roundings of the forward pass dX has mean(g * h), a sum of dim terms of both
    // signs, each of at most |g| |h|.
    bench.assertClose(dX, expected, 16 + 2.0 * dim, magnitude);
    // A sum over rows of products of 2 factors, and one addition to what was there.
    double[] dWeightMagnitude = new double[dim];
    Arrays.setAll(dWeightMagnitude, i -> sumMagnitude[i] + Math.abs(expectedDWeight[i]));
    bench.assertClose(dWeight, expectedDWeight, rows + 8, dWeightMagnitude);
  }
}
