package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.LayerNormReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class LayerNormTest {
  private static final float EPS = 1e-5f;

  /*
   * The mean is a sum of dim terms, and the centered values inherit its error; the sum of their
   * squares is another. All relative to the largest |x| in units of the standard deviation.
   */
  private static double roundings(int dim) {
    return 16 + 3.0 * dim;
  }

  @BackendTest
  void forwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (String target : new String[] {"none", "sum", "x", "delta"}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            forward(device, tokens, dim, target);
          }
        }
      }
    }
  }

  private static void forward(TestDevice device, int tokens, int dim, String target) {
    Tensor x = device.normal("x", device.dtype(), tokens, dim);
    Tensor delta = device.normal("delta", device.dtype(), tokens, dim);
    Tensor weight = device.normal("weight", device.dtype(), dim);
    Tensor bias = device.normal("bias", device.dtype(), dim);
    Tensor y = device.output("y", device.dtype(), tokens, dim);
    Tensor mean = device.output("mean", DType.F32, tokens);
    Tensor rstd = device.output("rstd", DType.F32, tokens);
    Tensor sum =
        switch (target) {
          case "sum" -> device.output("sum", device.dtype(), tokens, dim);
          case "x" -> x;
          case "delta" -> delta;
          default -> null;
        };
    double[] expectedSum = device.values(x);
    double[] added = device.values(delta);
    LayerNorm.forward(
        device.backend(), y, sum, mean, rstd, x, sum == null ? null : delta, weight, bias, EPS);
    if (sum != null) {
      Arrays.setAll(expectedSum, i -> expectedSum[i] + added[i]);
      device.assertClose(sum, expectedSum, 0, 0);
    }
    double[] normalized = device.values(sum == null ? x : sum);
    double[] weights = device.values(weight);
    double[] expected = LayerNormReference.forward(normalized, weights, device.values(bias), EPS);
    double[] expectedRstd = LayerNormReference.rstd(normalized, dim, EPS);
    double largestRstd = TestDevice.largest(expectedRstd);
    double spread = TestDevice.largest(normalized) * largestRstd;
    device.assertClose(
        mean, LayerNormReference.mean(normalized, dim), dim + 2, TestDevice.largest(normalized));
    // Relative error of the variance: that of (x - mean)^2, whose x may be large beside it.
    device.assertClose(rstd, expectedRstd, roundings(dim), largestRstd * (1 + spread * spread));
    device.assertClose(
        y,
        expected,
        roundings(dim),
        TestDevice.largest(weights) * spread * (1 + spread * spread) + 4);
  }

  @BackendTest
  void backwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (String target : new String[] {"dX", "dY", "dResidual"}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            backward(device, tokens, dim, target);
          }
        }
      }
    }
  }

  private static void backward(TestDevice device, int tokens, int dim, String target) {
    Tensor x = device.normal("x", device.dtype(), tokens, dim);
    double[] xs = device.values(x);
    Tensor weight = device.normal("weight", device.dtype(), dim);
    Tensor mean = device.given("mean", DType.F32, LayerNormReference.mean(xs, dim), tokens);
    Tensor rstd = device.given("rstd", DType.F32, LayerNormReference.rstd(xs, dim, EPS), tokens);
    Tensor dY = device.normal("dY", device.dtype(), tokens, dim);
    Tensor dWeight = device.normal("dWeight", DType.F32, dim);
    Tensor dBias = device.normal("dBias", DType.F32, dim);
    Tensor dResidual = device.normal("dResidual", device.dtype(), tokens, dim);
    Tensor dX =
        switch (target) {
          case "dY" -> dY;
          case "dResidual" -> dResidual;
          default -> device.output("dX", device.dtype(), tokens, dim);
        };
    boolean residual = !target.equals("dX");
    double[] expectedDWeight = device.values(dWeight);
    double[] expectedDBias = device.values(dBias);
    double[] added = device.values(dResidual);
    double[] weights = device.values(weight);
    double[] dYs = device.values(dY);
    double[] expected =
        LayerNormReference.backward(expectedDWeight, expectedDBias, dYs, xs, weights, EPS);
    if (residual) {
      Arrays.setAll(expected, i -> expected[i] + added[i]);
    }
    LayerNorm.backward(
        device.backend(),
        dX,
        dWeight,
        dBias,
        dY,
        x,
        weight,
        mean,
        rstd,
        residual ? dResidual : null);

    double g = TestDevice.largest(dYs) * TestDevice.largest(weights);
    double largestRstd = TestDevice.largest(device.values(rstd));
    double h = 2 * TestDevice.largest(xs) * largestRstd;
    device.assertClose(
        dX, expected, roundings(dim), TestDevice.largest(added) + largestRstd * g * (2 + h * h));
    double sum = tokens * TestDevice.largest(dYs);
    device.assertClose(dWeight, expectedDWeight, tokens + 8, sum * h + 8);
    device.assertClose(dBias, expectedDBias, tokens + 2, sum + 8);
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> {
          forward(device, 151, 1027, "sum");
          backward(device, 151, 1027, "dX");
        });
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor x = device.normal("x", DType.F32, 2, 4);
      Tensor weight = device.normal("weight", DType.F32, 4);
      Tensor bias = device.normal("bias", DType.F32, 3);
      assertEquals(
          "layernorm: bias is [3] f32, expected [hidden=4] f32",
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      LayerNorm.forward(
                          device.backend(), x, null, null, null, x, null, weight, bias, EPS))
              .getMessage());
    }
  }
}
