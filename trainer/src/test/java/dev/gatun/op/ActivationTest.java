package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.ActivationReference;
import dev.gatun.selftest.ActivationContract;
import dev.gatun.selftest.ActivationContract.SumTarget;
import dev.gatun.selftest.ActivationContract.Target;
import dev.gatun.selftest.Place;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Swiglu, gelu and residual: the ops that work on each element alone. */
final class ActivationTest {
  @BackendTest
  void swigluOfAllSizes(BackendCase backendCase) {
    for (int width : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Activation activation : Activation.values()) {
          for (Place place : Place.values()) {
            try (TestDevice device = TestDevice.open(backendCase)) {
              ActivationContract.swiglu(device, tokens, width, activation, place);
            }
          }
        }
      }
    }
  }

  @BackendTest
  void geluOfAllSizes(BackendCase backendCase) {
    for (int count : Sizes.ROW) {
      for (Target target : Target.values()) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          ActivationContract.gelu(device, count, target);
        }
      }
    }
  }

  @BackendTest
  void extremesStayFinite(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      double[] values = {-1e30, -1000, -100, -88, 0, 88, 100, 1000, 1e30};
      Tensor x = device.given("x", device.dtype(), values, values.length);
      double[] xs = device.values(x);
      double[] relu = Arrays.stream(xs).map(v -> Math.max(v, 0)).toArray();
      Tensor y = device.output("y", device.dtype(), values.length);
      Gelu.forward(device.backend(), y, x);
      // A sigmoid that is 0 in f32 may be a number near its smallest normal one: kernels stop at
      // e^-87, give or take a rounding, where a fast reciprocal is not yet flushed to 0.
      double[] underflow =
          Arrays.stream(xs)
              .map(v -> Math.abs(v) * 1.001 * Math.exp(-87) / TestDevice.F32_ROUNDOFF)
              .toArray();
      device.assertClose(y, relu, 1, underflow);

      double[] pairs = new double[2 * values.length];
      for (int i = 0; i < values.length; i++) {
        pairs[2 * i] = values[i];
        pairs[2 * i + 1] = 1;
      }
      Tensor gateUp = device.given("gateUp", device.dtype(), pairs, values.length, 2);
      Tensor gated = device.output("gated", device.dtype(), values.length, 1);
      Swiglu.forward(device.backend(), gated, gateUp, Activation.SILU);
      // silu(-88) is -88 e^-88, a number still.
      double[] silu =
          Arrays.stream(xs).map(v -> v < -1e3 ? 0 : ActivationReference.silu(v)).toArray();
      device.assertClose(gated, silu, 1, underflow);
    }
  }

  @BackendTest
  void residualOfAllSizesAndTargets(BackendCase backendCase) {
    for (int count : Sizes.ROW) {
      for (SumTarget target : SumTarget.values()) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          ActivationContract.residual(device, count, target);
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> {
          ActivationContract.swiglu(device, 131, 1027, Activation.SILU, Place.APART);
          ActivationContract.swiglu(device, 131, 1027, Activation.GELU_TANH, Place.APART);
          ActivationContract.gelu(device, 131_071, Target.D_X);
          ActivationContract.residual(device, 131_071, SumTarget.Y);
        });
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor gateUp = device.normal("gateUp", DType.F32, 3, 8);
      Tensor y = device.normal("y", DType.F32, 3, 5);
      assertEquals(
          "swiglu: y is [3, 5] f32, expected [tokens=3, width=4] f32",
          message(() -> Swiglu.forward(device.backend(), y, gateUp, Activation.SILU)));
      assertEquals(
          "swiglu: gateUp has 5 columns, expected even",
          message(() -> Swiglu.forward(device.backend(), y, y, Activation.SILU)));
      assertEquals(
          "gelu: y is [3, 5] f32, expected [3, 8] f32 as x",
          message(() -> Gelu.forward(device.backend(), y, gateUp)));
    }
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
