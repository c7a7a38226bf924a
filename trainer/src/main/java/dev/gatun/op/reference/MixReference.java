package dev.gatun.op.reference;

import java.util.Arrays;

/** (1 - alpha) dst + alpha src. */
public final class MixReference {
  private MixReference() {}

  public static double[] mixed(double[] dst, double[] src, double alpha) {
    double[] mixed = new double[dst.length];
    Arrays.setAll(mixed, i -> (1 - alpha) * dst[i] + alpha * src[i]);
    return mixed;
  }
}
