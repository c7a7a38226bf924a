package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.ActivationReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

/** Swiglu, gelu and residual: the ops that work on each element alone. */
final class ActivationTest {
  /*
   * An activation is its argument times a sigmoid or (1 + tanh), whose exponential has the relative
   * error of its argument: below |x| <= 30 in units of the roundoff. Slopes are a few such terms.
   */
  private static final double ROUNDINGS = 64;

  private static DoubleUnaryOperator value(Activation activation) {
    return activation == Activation.SILU ? ActivationReference::silu : ActivationReference::gelu;
  }

  private static DoubleUnaryOperator slope(Activation activation) {
    return activation == Activation.SILU
        ? ActivationReference::siluSlope
        : ActivationReference::geluSlope;
  }

  @BackendTest
  void swigluOfAllSizes(BackendCase backendCase) {
    for (int width : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Activation activation : Activation.values()) {
          for (boolean inPlace : new boolean[] {false, true}) {
            try (TestDevice device = TestDevice.open(backendCase)) {
              swiglu(device, tokens, width, activation, inPlace);
            }
          }
        }
      }
    }
  }

  private static void swiglu(
      TestDevice device, int tokens, int width, Activation activation, boolean inPlace) {
    double[] spread = device.normals(tokens * 2 * width);
    Arrays.setAll(spread, i -> 3 * spread[i]); // Reaches the flat ends.
    Tensor gateUp = device.given("gateUp", device.dtype(), spread, tokens, 2L * width);
    double[] x = device.values(gateUp);
    double[] expected = new double[tokens * width];
    Arrays.setAll(
        expected, i -> value(activation).applyAsDouble(gate(x, i, width)) * up(x, i, width));
    double magnitude = TestDevice.largest(x) * TestDevice.largest(x);
    Tensor y = device.output("y", device.dtype(), tokens, width);
    Swiglu.forward(device.backend(), y, gateUp, activation);
    device.assertClose(y, expected, ROUNDINGS, magnitude);

    Tensor dY = device.normal("dY", device.dtype(), tokens, width);
    double[] dYs = device.values(dY);
    double[] expectedD = new double[x.length];
    for (int i = 0; i < dYs.length; i++) {
      int at = i / width * 2 * width + i % width;
      expectedD[at] = dYs[i] * up(x, i, width) * slope(activation).applyAsDouble(gate(x, i, width));
      expectedD[at + width] = dYs[i] * value(activation).applyAsDouble(gate(x, i, width));
    }
    Tensor dGateUp =
        inPlace ? gateUp : device.output("dGateUp", device.dtype(), tokens, 2L * width);
    Tensor again = inPlace ? null : device.output("again", device.dtype(), tokens, width);
    Swiglu.backward(device.backend(), dGateUp, again, dY, gateUp, activation);
    device.assertClose(
        dGateUp, expectedD, ROUNDINGS, TestDevice.largest(dYs) * TestDevice.largest(x) * 2);
    if (again != null) {
      device.assertClose(again, expected, ROUNDINGS, magnitude);
    }
  }

  private static double gate(double[] gateUp, int element, int width) {
    return gateUp[element / width * 2 * width + element % width];
  }

  private static double up(double[] gateUp, int element, int width) {
    return gateUp[element / width * 2 * width + width + element % width];
  }

  @BackendTest
  void geluOfAllSizes(BackendCase backendCase) {
    for (int count : Sizes.ROW) {
      for (String target : new String[] {"dX", "dY", "x"}) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          gelu(device, count, target);
        }
      }
    }
  }

  private static void gelu(TestDevice device, int count, String target) {
    double[] spread = device.normals(count);
    Arrays.setAll(spread, i -> 3 * spread[i]);
    Tensor x = device.given("x", device.dtype(), spread, count);
    double[] xs = device.values(x);
    double[] expected = Arrays.stream(xs).map(ActivationReference::gelu).toArray();
    double largest = TestDevice.largest(xs);
    Tensor y = device.output("y", device.dtype(), count);
    Gelu.forward(device.backend(), y, x);
    device.assertClose(y, expected, ROUNDINGS, largest);

    Tensor dY = device.normal("dY", device.dtype(), count);
    double[] dYs = device.values(dY);
    double[] expectedD = new double[count];
    Arrays.setAll(expectedD, i -> dYs[i] * ActivationReference.geluSlope(xs[i]));
    Tensor again = device.output("again", device.dtype(), count);
    Tensor dX =
        switch (target) {
          case "dY" -> dY;
          case "x" -> x;
          default -> device.output("dX", device.dtype(), count);
        };
    Gelu.backward(device.backend(), dX, again, dY, x);
    device.assertClose(dX, expectedD, ROUNDINGS, TestDevice.largest(dYs) * Math.max(2, largest));
    device.assertClose(again, expected, ROUNDINGS, largest);
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
      // A sigmoid that is 0 in f32 may be its smallest normal number.
      double[] underflow =
          Arrays.stream(xs)
              .map(v -> Math.abs(v) * Float.MIN_NORMAL / TestDevice.F32_ROUNDOFF)
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
      for (String target : new String[] {"y", "x", "delta"}) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          residual(device, count, target);
        }
      }
    }
  }

  private static void residual(TestDevice device, int count, String target) {
    Tensor x = device.normal("x", device.dtype(), count);
    Tensor delta = device.normal("delta", device.dtype(), count);
    double[] expected = device.values(x);
    double[] added = device.values(delta);
    Arrays.setAll(expected, i -> expected[i] + added[i]);
    Tensor y =
        switch (target) {
          case "x" -> x;
          case "delta" -> delta;
          default -> device.output("y", device.dtype(), count);
        };
    Residual.forward(device.backend(), y, x, delta);
    device.assertClose(y, expected, 0, 0);
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> {
          swiglu(device, 131, 1027, Activation.SILU, false);
          swiglu(device, 131, 1027, Activation.GELU_TANH, false);
          gelu(device, 131_071, "dX");
          residual(device, 131_071, "y");
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
