package dev.gatun.selftest;

import dev.gatun.op.LayerNorm;
import dev.gatun.op.reference.LayerNormReference;
import dev.gatun.selftest.RmsNormContract.Sum;
import dev.gatun.selftest.RmsNormContract.Target;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What {@link LayerNorm} must do. */
public final class LayerNormContract {
  private static final float EPS = 1e-5f;

  private LayerNormContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int dim : extent.widths()) {
      for (int tokens : extent.rows(dim)) {
        for (Sum sum : Sum.values()) {
          String form = "[%d, %d], sum %s".formatted(tokens, dim, sum);
          cases.add(new OpCase(form, bench -> forward(bench, tokens, dim, sum)));
        }
        for (Target target : Target.values()) {
          String form = "[%d, %d], dX %s".formatted(tokens, dim, target);
          cases.add(new OpCase(form, bench -> backward(bench, tokens, dim, target)));
        }
      }
    }
    return cases;
  }

  /*
   * The mean is a sum of dim terms, and the centered values inherit its error; the sum of their
   * squares is another. All relative to the largest |x| in units of the standard deviation.
   */
  private static double roundings(int dim) {
    return 16 + 3.0 * dim;
  }

  /** The norm of x, or of x + delta. */
  public static void forward(Workbench bench, int tokens, int dim, Sum sum) {
    bench.runs("layernorm_forward");
    DType dtype = bench.dtype();
    Tensor x = bench.normal("x", dtype, tokens, dim);
    Tensor delta = sum == Sum.NONE ? null : bench.normal("delta", dtype, tokens, dim);
    Tensor weight = bench.normal("weight", dtype, dim);
    Tensor bias = bench.normal("bias", dtype, dim);
    Tensor y = bench.output("y", dtype, tokens, dim);
    Tensor mean = bench.output("mean", DType.F32, tokens);
    Tensor rstd = bench.output("rstd", DType.F32, tokens);
    Tensor total =
        switch (sum) {
          case NONE -> null;
          case APART -> bench.output("sum", dtype, tokens, dim);
          case OVER_X -> x;
          case OVER_DELTA -> delta;
        };
    double[] before = bench.values(x);
    double[] added = delta == null ? new double[before.length] : bench.values(delta);
    LayerNorm.forward(bench.backend(), y, total, mean, rstd, x, delta, weight, bias, EPS);
    if (total != null) {
      Arrays.setAll(before, i -> before[i] + added[i]);
      bench.assertClose(total, before, 0, 0);
    }
    double[] normalized = total == null ? before : bench.values(total);
    double[] weights = bench.values(weight);
    double[] expected = LayerNormReference.forward(normalized, weights, bench.values(bias), EPS);
    double[] expectedRstd = LayerNormReference.rstd(normalized, dim, EPS);
    double largestRstd = Workbench.largest(expectedRstd);
    double spread = Workbench.largest(normalized) * largestRstd;
    bench.assertClose(
        mean, LayerNormReference.mean(normalized, dim), dim + 2, Workbench.largest(normalized));
    // Relative error of the variance: that of (x - mean)^2, whose x may be large beside it.
    bench.assertClose(rstd, expectedRstd, roundings(dim), largestRstd * (1 + spread * spread));
    bench.assertClose(
        y,
        expected,
        roundings(dim),
        Workbench.largest(weights) * spread * (1 + spread * spread) + 4);
  }

  /** The gradients. */
  public static void backward(Workbench bench, int tokens, int dim, Target target) {
    bench.runs("layernorm_backward");
    DType dtype = bench.dtype();
    Tensor x = bench.normal("x", dtype, tokens, dim);
    double[] xs = bench.values(x);
    Tensor weight = bench.normal("weight", dtype, dim);
    Tensor mean = bench.given("mean", DType.F32, LayerNormReference.mean(xs, dim), tokens);
    Tensor rstd = bench.given("rstd", DType.F32, LayerNormReference.rstd(xs, dim, EPS), tokens);
    Tensor dY = bench.normal("dY", dtype, tokens, dim);
    Tensor dWeight = bench.normal("dWeight", DType.F32, dim);
    Tensor dBias = bench.normal("dBias", DType.F32, dim);
    Tensor dResidual = bench.normal("dResidual", dtype, tokens, dim);
    Tensor dX =
        switch (target) {
          case APART -> bench.output("dX", dtype, tokens, dim);
          case OVER_D_Y -> dY;
          case OVER_D_RESIDUAL -> dResidual;
        };
    Tensor residual = target == Target.APART ? null : dResidual;
    double[] expectedDWeight = bench.values(dWeight);
    double[] expectedDBias = bench.values(dBias);
    double[] added = bench.values(dResidual);
    double[] weights = bench.values(weight);
    double[] dYs = bench.values(dY);
    double[] expected =
        LayerNormReference.backward(expectedDWeight, expectedDBias, dYs, xs, weights, EPS);
    if (residual != null) {
      Arrays.setAll(expected, i -> expected[i] + added[i]);
    }
    LayerNorm.backward(bench.backend(), dX, dWeight, dBias, dY, x, weight, mean, rstd, residual);

    double g = Workbench.largest(dYs) * Workbench.largest(weights);
    double largestRstd = Workbench.largest(bench.values(rstd));
    double h = 2 * Workbench.largest(xs) * largestRstd;
    bench.assertClose(
        dX, expected, roundings(dim), Workbench.largest(added) + largestRstd * g * (2 + h * h));
    double sum = tokens * Workbench.largest(dYs);
    bench.assertClose(dWeight, expectedDWeight, tokens + 8, sum * h + 8);
    bench.assertClose(dBias, expectedDBias, tokens + 2, sum + 8);
  }
}
