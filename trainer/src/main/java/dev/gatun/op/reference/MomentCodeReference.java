package dev.gatun.op.reference;

/**
 * Moments of 8 bits: a code's leading one is at bit p, f is what is below it.
 *
 * <pre>
 *   value = 10^(p - bits + 1) * (0.1 + 0.9 (f + 1/2) / 2^p),  code 0 is 0
 * </pre>
 *
 * bits is 7 for the first moment, whose bit 7 is the sign, and 8 for the second.
 */
public final class MomentCodeReference {
  private MomentCodeReference() {}

  /** Magnitude of a code, in units of its block's scale. */
  public static double value(int code, int bits) {
    if (code == 0) {
      return 0;
    }
    int p = 31 - Integer.numberOfLeadingZeros(code);
    double inside = (code - (1 << p) + 0.5) / (1 << p);
    return Math.pow(10, p - bits + 1) * (0.1 + 0.9 * inside);
  }

  /** The code whose interval holds a magnitude, in units of the scale; 0 below all intervals. */
  public static int code(double magnitude, int bits) {
    for (int p = bits - 1; p >= 0; p--) {
      double inDecade = magnitude / Math.pow(10, p - bits + 1);
      if (inDecade >= 0.1) {
        int f = (int) ((inDecade - 0.1) / 0.9 * (1 << p));
        return (1 << p) + Math.min(f, (1 << p) - 1);
      }
    }
    return 0;
  }

  /** The scale that makes the largest magnitude of a block the largest code. */
  public static double scale(double largest, int bits) {
    return largest / value((1 << bits) - 1, bits);
  }
}
