package dev.gatun.op.reference;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.function.ToDoubleFunction;

/** Checks a gradient in double against differences of the function. */
public final class CentralDifference {
  /**
   * Step for which the error of a central difference, of the order of {@code step^2} by truncation
   * and {@code 1e-16 / step} by rounding, is least.
   */
  private static final double STEP = 1e-5;

  private CentralDifference() {}

  /**
   * Requires {@code gradient[i]} to be the derivative of {@code function} by {@code at[i]}, within
   * {@code 1e-7} of the largest: a thousand times the error of the difference, and far below that
   * of a wrong term.
   */
  public static void check(
      String name, double[] gradient, double[] at, ToDoubleFunction<double[]> function) {
    double largest = 1;
    for (double value : gradient) {
      largest = Math.max(largest, Math.abs(value));
    }
    double[] x = at.clone();
    for (int i = 0; i < x.length; i++) {
      x[i] = at[i] + STEP;
      double above = function.applyAsDouble(x);
      x[i] = at[i] - STEP;
      double below = function.applyAsDouble(x);
      x[i] = at[i];
      assertEquals((above - below) / (2 * STEP), gradient[i], 1e-7 * largest, name + "[" + i + "]");
    }
  }
}
