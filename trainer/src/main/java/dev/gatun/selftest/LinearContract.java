package dev.gatun.selftest;

import dev.gatun.backend.Accumulate;
import dev.gatun.op.Linear;
import dev.gatun.op.WeightLayout;
import dev.gatun.op.reference.LinearReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What {@link Linear} must do, which is every form of matmul: weights either way round, with and
 * without bias, overwriting and adding, outputs of the storage type and of f32, rows with gaps.
 */
public final class LinearContract {
  private static final int[][] SMALL = {{1, 1, 1}, {2, 3, 5}, {7, 17, 13}};
  private static final int[][] SHAPES = {
    {1, 1, 1},
    {1, 16, 16},
    {2, 3, 5},
    {7, 17, 13},
    {8, 8, 8},
    {16, 32, 31},
    {17, 33, 64},
    {61, 127, 257},
    {129, 64, 65},
    {131, 320, 263}
  };

  private LinearContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int[] shape : extent == Extent.QUICK ? SMALL : SHAPES) {
      for (WeightLayout layout : WeightLayout.values()) {
        for (Gaps gaps : Gaps.values()) {
          cases.add(
              new OpCase(
                  "tokens %d, in %d, out %d, weight %s, gaps %s"
                      .formatted(shape[0], shape[1], shape[2], layout, gaps),
                  bench -> check(bench, shape[0], shape[1], shape[2], layout, gaps)));
        }
      }
    }
    return cases;
  }

  /** A sum of k products in any order, on top of what was there. */
  private static void assertProduct(
      Workbench bench, Tensor actual, double[] expected, int k, double a, double b) {
    bench.assertClose(actual, expected, k + 3, k * a * b + 8);
  }

  /** All passes. */
  public static void check(
      Workbench bench, int tokens, int in, int out, WeightLayout layout, Gaps gaps) {
    bench.runs("matmul");
    int gap = gaps == Gaps.BETWEEN_ROWS ? 3 : 0;
    DType dtype = bench.dtype();
    boolean outIn = layout == WeightLayout.OUT_IN;
    Tensor x = bench.stridedNormal("x", dtype, gap, gap, tokens, in);
    Tensor weight = bench.normal("weight", dtype, outIn ? out : in, outIn ? in : out);
    Tensor bias = bench.normal("bias", dtype, out);
    double[] xs = bench.values(x);
    double[] biases = bench.values(bias);
    double[] inOut =
        outIn ? LinearReference.transposed(bench.values(weight), out, in) : bench.values(weight);
    double[] product = LinearReference.product(xs, inOut, tokens, in, out);
    double[] biased = new double[product.length];
    Arrays.setAll(biased, i -> product[i] + biases[i % out]);
    double a = Workbench.largest(xs);
    double b = Workbench.largest(inOut);

    Tensor y = bench.strided("y", dtype, gap, 0, tokens, out);
    Linear.forward(bench.backend(), y, x, weight, bias, layout);
    assertProduct(bench, y, biased, in, a, b);
    Tensor logits = bench.output("logits", DType.F32, tokens, out);
    Linear.forward(bench.backend(), logits, x, weight, null, layout);
    assertProduct(bench, logits, product, in, a, b);

    Tensor dY = bench.stridedNormal("dY", dtype, 0, gap, tokens, out);
    double[] dYs = bench.values(dY);
    double[] dXs =
        LinearReference.product(dYs, LinearReference.transposed(inOut, in, out), tokens, out, in);
    double c = Workbench.largest(dYs);
    Tensor dX = bench.strided("dX", dtype, gap, gap, tokens, in);
    Linear.backwardInput(bench.backend(), dX, dY, weight, layout, Accumulate.OVERWRITE);
    assertProduct(bench, dX, dXs, out, b, c);
    Tensor added = bench.normal("added", dtype, tokens, in);
    double[] sum = bench.values(added);
    Arrays.setAll(sum, i -> sum[i] + dXs[i]);
    Linear.backwardInput(bench.backend(), added, dY, weight, layout, Accumulate.ADD);
    assertProduct(bench, added, sum, out, b, c);

    Tensor dWeight = bench.normal("dWeight", DType.F32, outIn ? out : in, outIn ? in : out);
    double[] dInOut =
        LinearReference.product(LinearReference.transposed(xs, tokens, in), dYs, in, tokens, out);
    double[] dWeights = outIn ? LinearReference.transposed(dInOut, in, out) : dInOut;
    double[] before = bench.values(dWeight);
    Arrays.setAll(dWeights, i -> before[i] + dWeights[i]);
    Linear.backwardWeight(bench.backend(), dWeight, dY, x, layout);
    assertProduct(bench, dWeight, dWeights, tokens, a, c);

    bench.runs("bias_backward");
    Tensor dBias = bench.normal("dBias", DType.F32, out);
    double[] dBiases = bench.values(dBias);
    LinearReference.addColumnSums(dBiases, dYs);
    Linear.backwardBias(bench.backend(), dBias, dY);
    assertProduct(bench, dBias, dBiases, tokens, 1, c);
  }
}
