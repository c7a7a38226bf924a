package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.RmsNormContract;
import dev.gatun.selftest.RmsNormContract.Sum;
import dev.gatun.selftest.RmsNormContract.Target;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class RmsNormTest {
  private static final float EPS = 1e-5f;

  @BackendTest
  void forwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (float offset : new float[] {0, 1}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            RmsNormContract.forward(device, tokens, dim, Sum.NONE, offset);
          }
        }
      }
    }
  }

  @BackendTest
  void addsTheResidualOnTheWay(BackendCase backendCase) {
    for (Sum sum : Sum.values()) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        RmsNormContract.forward(device, 5, 67, sum, 1);
      }
    }
  }

  /** The norm of queries inside a fused projection. */
  @BackendTest
  void headsOfStridedRows(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      RmsNormContract.heads(device, 7, 4, 18);
    }
  }

  @BackendTest
  void backwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Target target : Target.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            RmsNormContract.backward(device, tokens, dim, target, 1);
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
          RmsNormContract.forward(device, 151, 1027, Sum.NONE, 0);
          RmsNormContract.backward(device, 151, 1027, Target.APART, 0);
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
}
