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

  /**
   * Rows of values {@code [tokens, width]} put into {@code [keyRows, width]}, in a copy of what was
   * there.
   *
   * @param copies second row of each token, or -1
   */
  public static double[] filed(
      double[] before, double[] values, int[] rows, int[] copies, int width) {
    double[] filed = before.clone();
    for (int t = 0; t < rows.length; t++) {
      System.arraycopy(values, t * width, filed, rows[t] * width, width);
      if (copies[t] >= 0) {
        System.arraycopy(values, t * width, filed, copies[t] * width, width);
      }
    }
    return filed;
  }

  /** The transpose of {@link #filed}: the sum of the rows that a token was put into. */
  public static double[] collected(double[] keyRows, int[] rows, int[] copies, int width) {
    double[] sum = new double[rows.length * width];
    for (int i = 0; i < sum.length; i++) {
      int t = i / width;
      sum[i] = keyRows[rows[t] * width + i % width];
      if (copies[t] >= 0) {
        sum[i] += keyRows[copies[t] * width + i % width];
      }
    }
    return sum;
  }
}
