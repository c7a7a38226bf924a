package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.LayerNormContract;
import dev.gatun.selftest.RmsNormContract.Sum;
import dev.gatun.selftest.RmsNormContract.Target;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class LayerNormTest {
  private static final float EPS = 1e-5f;

  @BackendTest
  void forwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Sum sum : Sum.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            LayerNormContract.forward(device, tokens, dim, sum);
          }
        }
      }
    }
  }

  @BackendTest
  void backwardOfAllSizes(BackendCase backendCase) {
    for (int dim : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Target target : Target.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            LayerNormContract.backward(device, tokens, dim, target);
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
          LayerNormContract.forward(device, 151, 1027, Sum.APART);
          LayerNormContract.backward(device, 151, 1027, Target.APART);
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
