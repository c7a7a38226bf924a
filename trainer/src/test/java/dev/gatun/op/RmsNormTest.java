package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.RmsNormReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class RmsNormTest {
  private static final float EPS = 1e-5f;

  /*
   * y is a product of x, rstd and weight + offset: 3 roundings, and half the relative error of the
   * sum of squares, which adds dim non-negative terms: at most dim + 2 roundings whatever their order.
   */
  private static double forwardRoundings(int dim) {
    return 8 + dim / 2.0;
  }

  /* dX besides has mean(g * h), a sum of dim terms of both signs, each of at most |g| |h|. */
  private static double backwardRoundings(int dim) {
    return 16 + 2.0 * dim;
  }

  @BackendTest
  void forwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          Tensor x = device.normal("x", device.dtype(), tokens, dim);
          Tensor weight = device.normal("weight", device.dtype(), dim);
          Tensor y = device.output("y", device.dtype(), tokens, dim);
          Tensor rstd = device.output("rstd", DType.F32, tokens);
          RmsNorm.forward(device.backend(), y, null, rstd, x, null, weight, EPS, 0);
          checkForward(device, y, rstd, device.values(x), device.values(weight), 0);
        }
      }
    }
  }

  @BackendTest
  void addsTheResidualOnTheWay(BackendCase backendCase) {
    for (String target : new String[] {"sum", "x", "delta"}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        Tensor x = device.normal("x", device.dtype(), 5, 67);
        Tensor delta = device.normal("delta", device.dtype(), 5, 67);
        Tensor weight = device.normal("weight", device.dtype(), 67);
        Tensor y = device.output("y", device.dtype(), 5, 67);
        Tensor rstd = device.output("rstd", DType.F32, 5);
        Tensor sum =
            switch (target) {
              case "x" -> x;
              case "delta" -> delta;
              default -> device.output("sum", device.dtype(), 5, 67);
            };
        double[] expectedSum = device.values(x);
        double[] added = device.values(delta);
        Arrays.setAll(expectedSum, i -> expectedSum[i] + added[i]);
        RmsNorm.forward(device.backend(), y, sum, rstd, x, delta, weight, EPS, 1);
        device.assertClose(sum, expectedSum, 0, 0);
        // What is normalized is the sum as stored.
        checkForward(device, y, rstd, device.values(sum), device.values(weight), 1);
      }
    }
  }

  /** The norm of queries inside a fused projection. */
  @BackendTest
  void headsOfStridedRows(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      Tensor x = device.stridedNormal("x", device.dtype(), 3, 5, 7, 4, 18);
      Tensor weight = device.normal("weight", device.dtype(), 18);
      Tensor y = device.strided("y", device.dtype(), 0, 2, 7, 4, 18);
      Tensor rstd = device.output("rstd", DType.F32, 7, 4);
      RmsNorm.forward(device.backend(), y, null, rstd, x, null, weight, EPS, 0);
      checkForward(device, y, rstd, device.values(x), device.values(weight), 0);

      Tensor dY = device.stridedNormal("dY", device.dtype(), 1, 1, 7, 4, 18);
      Tensor dWeight = device.normal("dWeight", DType.F32, 18);
      Tensor dX = device.strided("dX", device.dtype(), 2, 0, 7, 4, 18);
      checkBackward(device, dX, dWeight, dY, x, weight, rstd, null, 0);
    }
  }

  @BackendTest
  void backwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (String target : new String[] {"dX", "dY", "dResidual"}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            Tensor x = device.normal("x", device.dtype(), tokens, dim);
            Tensor weight = device.normal("weight", device.dtype(), dim);
            Tensor rstd = rstdOf(device, x, dim);
            Tensor dY = device.normal("dY", device.dtype(), tokens, dim);
            Tensor dWeight = device.normal("dWeight", DType.F32, dim);
            Tensor dResidual = device.normal("dResidual", device.dtype(), tokens, dim);
            Tensor dX =
                switch (target) {
                  case "dY" -> dY;
                  case "dResidual" -> dResidual;
                  default -> device.output("dX", device.dtype(), tokens, dim);
                };
            checkBackward(
                device,
                dX,
                dWeight,
                dY,
                x,
                weight,
                rstd,
                target.equals("dX") ? null : dResidual,
                1);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> {
          Tensor x = device.normal("x", device.dtype(), 151, 1027);
          Tensor weight = device.normal("weight", device.dtype(), 1027);
          Tensor y = device.output("y", device.dtype(), 151, 1027);
          Tensor rstd = device.output("rstd", DType.F32, 151);
          Tensor dWeight = device.normal("dWeight", DType.F32, 1027);
          Tensor dX = device.output("dX", device.dtype(), 151, 1027);
          RmsNorm.forward(device.backend(), y, null, rstd, x, null, weight, EPS, 0);
          double[] xs = device.values(x);
          double[] weights = device.values(weight);
          checkForward(device, y, rstd, xs, weights, 0);
          checkBackward(device, dX, dWeight, y, x, weight, rstd, null, 0);
        });
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor x = device.normal("x", DType.BF16, 128, 4);
      Tensor weight = device.normal("weight", DType.BF16, 2);
      Tensor y = device.normal("y", DType.F32, 128, 4);
      Tensor strided = device.strided("strided", DType.BF16, 1, 0, 128, 4);
      assertEquals(
          "rmsnorm: x is [128, 4] bf16, expected [tokens=128, hidden=2] bf16",
          message(device, y, null, x, null, weight));
      Tensor right = device.normal("weight", DType.BF16, 4);
      assertEquals(
          "rmsnorm: y is [128, 4] f32, expected [128, 4] bf16 as x",
          message(device, y, null, x, null, right));
      assertEquals(
          "rmsnorm: delta without sum, expected both or neither",
          message(device, x, null, x, x, right));
      assertEquals(
          "rmsnorm: sum has 5 elements between rows, expected 4",
          message(device, x, strided, x, x, right));
      assertEquals(
          "rmsnorm: x is [128] i32, expected f32 or bf16",
          message(device, x, null, device.given("x", new int[128]), null, right));
    }
  }

  private static String message(
      TestDevice device, Tensor y, Tensor sum, Tensor x, Tensor delta, Tensor weight) {
    return assertThrows(
            IllegalArgumentException.class,
            () -> RmsNorm.forward(device.backend(), y, sum, null, x, delta, weight, EPS, 0))
        .getMessage();
  }

  private static Tensor rstdOf(TestDevice device, Tensor x, int dim) {
    double[] rstd = RmsNormReference.rstd(device.values(x), dim, EPS);
    return device.given("rstd", DType.F32, rstd, rstd.length);
  }

  private static void checkForward(
      TestDevice device, Tensor y, Tensor rstd, double[] x, double[] weight, double offset) {
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
    device.assertClose(y, expected, forwardRoundings(weight.length), magnitude);
    device.assertClose(
        rstd, expectedRstd, forwardRoundings(weight.length), TestDevice.largest(expectedRstd));
  }

  private static void checkBackward(
      TestDevice device,
      Tensor dX,
      Tensor dWeight,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dResidual,
      float offset) {
    double[] weights = device.values(weight);
    double[] xs = device.values(x);
    double[] dYs = device.values(dY);
    double[] expectedDWeight = device.values(dWeight);
    double[] residual = dResidual == null ? new double[xs.length] : device.values(dResidual);
    double[] expected = RmsNormReference.backward(expectedDWeight, dYs, xs, weights, EPS, offset);
    Arrays.setAll(expected, i -> expected[i] + residual[i]);
    double[] rstds = device.values(rstd);
    RmsNorm.backward(device.backend(), dX, dWeight, dY, x, weight, rstd, dResidual, offset);

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
    device.assertClose(dX, expected, backwardRoundings(dim), magnitude);
    // A sum over rows of products of 2 factors, and one addition to what was there.
    double[] dWeightMagnitude = new double[dim];
    Arrays.setAll(dWeightMagnitude, i -> sumMagnitude[i] + Math.abs(expectedDWeight[i]));
    device.assertClose(dWeight, expectedDWeight, rows + 8, dWeightMagnitude);
  }
}
