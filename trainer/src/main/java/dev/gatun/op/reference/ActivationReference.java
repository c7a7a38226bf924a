package dev.gatun.op.reference;

/** Activation functions and their derivatives. */
public final class ActivationReference {
  private ActivationReference() {}

  public static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  public static double siluSlope(double x) {
    double sigmoid = 1 / (1 + Math.exp(-x));
    return sigmoid * (1 + x * (1 - sigmoid));
  }

  public static double gelu(double x) {
    return 0.5 * x * (1 + Math.tanh(inner(x)));
  }

  public static double geluSlope(double x) {
    double tanh = Math.tanh(inner(x));
    double innerSlope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * innerSlope;
  }

  private static double inner(double x) {
    return Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
  }
}
