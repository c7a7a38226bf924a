package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.backend.Accumulate;
import dev.gatun.op.reference.LinearReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class LinearTest {
  private static final int[][] SHAPES = {
    {1, 1, 1}, {1, 16, 16}, {2, 3, 5}, {7, 17, 13}, {16, 32, 31}, {17, 33, 64}, {61, 127, 257}
  };

  /** A sum of k products in any order, on top of what was there. */
  private static void assertProduct(
      TestDevice device, Tensor actual, double[] expected, int k, double a, double b) {
    device.assertClose(actual, expected, k + 3, k * a * b + 8);
  }

  @BackendTest
  void allPassesOfBothLayouts(BackendCase backendCase) {
    for (int[] shape : SHAPES) {
      for (WeightLayout layout : WeightLayout.values()) {
        for (boolean strided : new boolean[] {false, true}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            check(device, shape[0], shape[1], shape[2], layout, strided);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> check(device, 131, 257, 263, WeightLayout.OUT_IN, false));
  }

  private static void check(
      TestDevice device, int tokens, int in, int out, WeightLayout layout, boolean strided) {
    int gap = strided ? 3 : 0;
    DType dtype = device.dtype();
    boolean outIn = layout == WeightLayout.OUT_IN;
    Tensor x = device.stridedNormal("x", dtype, gap, gap, tokens, in);
    Tensor weight = device.normal("weight", dtype, outIn ? out : in, outIn ? in : out);
    Tensor bias = device.normal("bias", dtype, out);
    double[] xs = device.values(x);
    double[] biases = device.values(bias);
    double[] inOut =
        outIn ? LinearReference.transposed(device.values(weight), out, in) : device.values(weight);
    double[] product = LinearReference.product(xs, inOut, tokens, in, out);
    double[] biased = new double[product.length];
    Arrays.setAll(biased, i -> product[i] + biases[i % out]);
    double a = TestDevice.largest(xs);
    double b = TestDevice.largest(inOut);

    Tensor y = device.strided("y", dtype, gap, 0, tokens, out);
    Linear.forward(device.backend(), y, x, weight, bias, layout);
    assertProduct(device, y, biased, in, a, b);
    Tensor logits = device.output("logits", DType.F32, tokens, out);
    Linear.forward(device.backend(), logits, x, weight, null, layout);
    assertProduct(device, logits, product, in, a, b);

    Tensor dY = device.stridedNormal("dY", dtype, 0, gap, tokens, out);
    double[] dYs = device.values(dY);
    double[] dXs =
        LinearReference.product(dYs, LinearReference.transposed(inOut, in, out), tokens, out, in);
    double c = TestDevice.largest(dYs);
    Tensor dX = device.strided("dX", dtype, gap, gap, tokens, in);
    Linear.backwardInput(device.backend(), dX, dY, weight, layout, Accumulate.OVERWRITE);
    assertProduct(device, dX, dXs, out, b, c);
    Tensor added = device.normal("added", dtype, tokens, in);
    double[] sum = device.values(added);
    Arrays.setAll(sum, i -> sum[i] + dXs[i]);
    Linear.backwardInput(device.backend(), added, dY, weight, layout, Accumulate.ADD);
    assertProduct(device, added, sum, out, b, c);

    Tensor dWeight = device.normal("dWeight", DType.F32, outIn ? out : in, outIn ? in : out);
    double[] dInOut =
        LinearReference.product(LinearReference.transposed(xs, tokens, in), dYs, in, tokens, out);
    double[] dWeights = outIn ? LinearReference.transposed(dInOut, in, out) : dInOut;
    double[] before = device.values(dWeight);
    Arrays.setAll(dWeights, i -> before[i] + dWeights[i]);
    Linear.backwardWeight(device.backend(), dWeight, dY, x, layout);
    assertProduct(device, dWeight, dWeights, tokens, a, c);

    Tensor dBias = device.normal("dBias", DType.F32, out);
    double[] dBiases = device.values(dBias);
    for (int i = 0; i < dYs.length; i++) {
      dBiases[i % out] += dYs[i];
    }
    Linear.backwardBias(device.backend(), dBias, dY);
    assertProduct(device, dBias, dBiases, tokens, 1, c);
  }

  @Test
  void headsCountAsOneDimension() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor x = device.given("x", DType.F32, new double[] {1, 2, 3, 4}, 1, 2, 2);
      Tensor weight = device.given("weight", DType.F32, new double[] {1, 10, 100, 1000}, 1, 4);
      Tensor y = device.output("y", DType.F32, 1, 1);
      Linear.forward(device.backend(), y, x, weight, null, WeightLayout.OUT_IN);
      device.assertExact(y, new double[] {4321});
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor x = device.normal("x", DType.BF16, 3, 4);
      Tensor weight = device.normal("weight", DType.BF16, 6, 5);
      Tensor y = device.output("y", DType.BF16, 3, 6);
      assertEquals(
          "linear: weight is weight [6, 5] bf16, expected in=4 as x has",
          message(() -> Linear.forward(device.backend(), y, x, weight, null, WeightLayout.OUT_IN)));
      assertEquals(
          "linear: y is [3, 6] bf16, expected [tokens=3, out=5] bf16",
          message(
              () ->
                  Linear.forward(
                      device.backend(),
                      y,
                      device.normal("x", DType.BF16, 3, 6),
                      weight,
                      null,
                      WeightLayout.IN_OUT)));
      assertEquals(
          "linear: dWeight is [6, 5] bf16, expected [out=6, in=4] f32",
          message(
              () -> Linear.backwardWeight(device.backend(), weight, y, x, WeightLayout.OUT_IN)));
    }
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
