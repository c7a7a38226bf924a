package dev.gatun.selftest;

import dev.gatun.op.Activation;
import dev.gatun.op.Gelu;
import dev.gatun.op.Residual;
import dev.gatun.op.Swiglu;
import dev.gatun.op.reference.ActivationReference;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;

/** What {@link Swiglu}, {@link Gelu} and {@link Residual} must do. */
public final class ActivationContract {
  /*
   * An activation is its argument times a sigmoid or (1 + tanh), whose exponential has the relative
   * error of its argument: below |x| <= 30 in units of the roundoff. Slopes are a few such terms.
   */
  private static final double ROUNDINGS = 64;

  /** Where the gradient of gelu goes. */
  public enum Target {
    D_X,
    D_Y,
    X
  }

  /** Where a sum goes. */
  public enum SumTarget {
    Y,
    X,
    DELTA
  }

  private ActivationContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int width : extent.widths()) {
      for (int tokens : extent.rows(width)) {
        for (Activation activation : Activation.values()) {
          for (Place place : Place.values()) {
            cases.add(
                new OpCase(
                    "[%d, 2*%d], %s, dGateUp %s".formatted(tokens, width, activation, place),
                    bench -> swiglu(bench, tokens, width, activation, place)));
          }
        }
      }
    }
    for (int count : extent.counts()) {
      for (Target target : Target.values()) {
        String form = "[%d], to %s".formatted(count, target);
        cases.add(new OpCase(form, bench -> gelu(bench, count, target)));
      }
      for (SumTarget target : SumTarget.values()) {
        String form = "[%d], to %s".formatted(count, target);
        cases.add(new OpCase(form, bench -> residual(bench, count, target)));
      }
    }
    return cases;
  }

  private static DoubleUnaryOperator value(Activation activation) {
    return activation == Activation.SILU ? ActivationReference::silu : ActivationReference::gelu;
  }

  private static DoubleUnaryOperator slope(Activation activation) {
    return activation == Activation.SILU
        ? ActivationReference::siluSlope
        : ActivationReference::geluSlope;
  }

  /** Both passes of the gated activation. */
  public static void swiglu(
      Workbench bench, int tokens, int width, Activation activation, Place place) {
    bench.runs("swiglu_forward");
    double[] spread = bench.normals(tokens * 2 * width);
    Arrays.setAll(spread, i -> 3 * spread[i]); // Reaches the flat ends.
    Tensor gateUp = bench.given("gateUp", bench.dtype(), spread, tokens, 2L * width);
    double[] x = bench.values(gateUp);
    double[] expected = new double[tokens * width];
    Arrays.setAll(
        expected, i -> value(activation).applyAsDouble(gate(x, i, width)) * up(x, i, width));
    double magnitude = Workbench.largest(x) * Workbench.largest(x);
    Tensor y = bench.output("y", bench.dtype(), tokens, width);
    Swiglu.forward(bench.backend(), y, gateUp, activation);
    bench.assertClose(y, expected, ROUNDINGS, magnitude);

    bench.runs("swiglu_backward");
    Tensor dY = bench.normal("dY", bench.dtype(), tokens, width);
    double[] dYs = bench.values(dY);
    double[] expectedD = new double[x.length];
    for (int i = 0; i < dYs.length; i++) {
      int at = i / width * 2 * width + i % width;
      expectedD[at] = dYs[i] * up(x, i, width) * slope(activation).applyAsDouble(gate(x, i, width));
      expectedD[at + width] = dYs[i] * value(activation).applyAsDouble(gate(x, i, width));
    }
    boolean over = place == Place.OVER_INPUT;
    Tensor dGateUp = over ? gateUp : bench.output("dGateUp", bench.dtype(), tokens, 2L * width);
    Tensor again = over ? null : bench.output("again", bench.dtype(), tokens, width);
    Swiglu.backward(bench.backend(), dGateUp, again, dY, gateUp, activation);
    bench.assertClose(
        dGateUp, expectedD, ROUNDINGS, Workbench.largest(dYs) * Workbench.largest(x) * 2);
    if (again != null) {
      bench.assertClose(again, expected, ROUNDINGS, magnitude);
    }
  }

  private static double gate(double[] gateUp, int element, int width) {
    return gateUp[element / width * 2 * width + element % width];
  }

  private static double up(double[] gateUp, int element, int width) {
    return gateUp[element / width * 2 * width + width + element % width];
  }

  /** Both passes of gelu. */
  public static void gelu(Workbench bench, int count, Target target) {
    bench.runs("gelu_forward");
    double[] spread = bench.normals(count);
    Arrays.setAll(spread, i -> 3 * spread[i]);
    Tensor x = bench.given("x", bench.dtype(), spread, count);
    double[] xs = bench.values(x);
    double[] expected = Arrays.stream(xs).map(ActivationReference::gelu).toArray();
    double largest = Workbench.largest(xs);
    Tensor y = bench.output("y", bench.dtype(), count);
    Gelu.forward(bench.backend(), y, x);
    bench.assertClose(y, expected, ROUNDINGS, largest);

    bench.runs("gelu_backward");
    Tensor dY = bench.normal("dY", bench.dtype(), count);
    double[] dYs = bench.values(dY);
    double[] expectedD = new double[count];
    Arrays.setAll(expectedD, i -> dYs[i] * ActivationReference.geluSlope(xs[i]));
    Tensor again = bench.output("again", bench.dtype(), count);
    Tensor dX =
        switch (target) {
          case D_X -> bench.output("dX", bench.dtype(), count);
          case D_Y -> dY;
          case X -> x;
        };
    Gelu.backward(bench.backend(), dX, again, dY, x);
    bench.assertClose(dX, expectedD, ROUNDINGS, Workbench.largest(dYs) * Math.max(2, largest));
    bench.assertClose(again, expected, ROUNDINGS, largest);
  }

  /** The sum of two vectors. */
  public static void residual(Workbench bench, int count, SumTarget target) {
    bench.runs("residual_forward");
    Tensor x = bench.normal("x", bench.dtype(), count);
    Tensor delta = bench.normal("delta", bench.dtype(), count);
    double[] expected = bench.values(x);
    double[] added = bench.values(delta);
    Arrays.setAll(expected, i -> expected[i] + added[i]);
    Tensor y =
        switch (target) {
          case Y -> bench.output("y", bench.dtype(), count);
          case X -> x;
          case DELTA -> delta;
        };
    Residual.forward(bench.backend(), y, x, delta);
    bench.assertClose(y, expected, 0, 0);
  }
}
