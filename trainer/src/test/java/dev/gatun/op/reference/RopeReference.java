package dev.gatun.op.reference;

/** Rotation of the pairs (i, i + headDim / 2). */
public final class RopeReference {
  private RopeReference() {}

  /**
   * {@code x [tokens, heads, headDim]} rotated by the angles of its positions.
   *
   * @param cos {@code [maxPositions, headDim / 2]}
   * @param direction 1 forward, -1 backward
   */
  public static double[] rotate(
      double[] x,
      double[] cos,
      double[] sin,
      int[] positions,
      int heads,
      int headDim,
      int direction) {
    int half = headDim / 2;
    double[] y = new double[x.length];
    for (int t = 0; t < positions.length; t++) {
      for (int h = 0; h < heads; h++) {
        int head = (t * heads + h) * headDim;
        for (int i = 0; i < half; i++) {
          double c = cos[positions[t] * half + i];
          double s = direction * sin[positions[t] * half + i];
          y[head + i] = x[head + i] * c - x[head + half + i] * s;
          y[head + half + i] = x[head + half + i] * c + x[head + i] * s;
        }
      }
    }
    return y;
  }
}
