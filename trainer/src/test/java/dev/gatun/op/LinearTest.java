package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.Gaps;
import dev.gatun.selftest.LinearContract;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class LinearTest {
  private static final int[][] SHAPES = {
    {1, 1, 1}, {1, 16, 16}, {2, 3, 5}, {7, 17, 13}, {16, 32, 31}, {17, 33, 64}, {61, 127, 257}
  };

  @BackendTest
  void allPassesOfBothLayouts(BackendCase backendCase) {
    for (int[] shape : SHAPES) {
      for (WeightLayout layout : WeightLayout.values()) {
        for (Gaps gaps : Gaps.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            LinearContract.check(device, shape[0], shape[1], shape[2], layout, gaps);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> LinearContract.check(device, 131, 257, 263, WeightLayout.OUT_IN, Gaps.NONE));
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
