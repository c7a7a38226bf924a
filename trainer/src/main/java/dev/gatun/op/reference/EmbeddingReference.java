package dev.gatun.op.reference;

/** y[t] = scale * table[ids[t]] + positionTable[positions[t]], rows of hidden elements. */
public final class EmbeddingReference {
  private EmbeddingReference() {}

  public static double[] forward(
      double[] table,
      double[] positionTable,
      int[] ids,
      int[] positions,
      int hidden,
      double scale) {
    double[] y = new double[ids.length * hidden];
    for (int i = 0; i < y.length; i++) {
      int t = i / hidden;
      y[i] = scale * table[ids[t] * hidden + i % hidden];
      y[i] += positionTable[positions[t] * hidden + i % hidden];
    }
    return y;
  }

  /** Adds scale * dY[t] to dTable[rows[t]]. */
  public static void backward(double[] dTable, double[] dY, int[] rows, int hidden, double scale) {
    for (int i = 0; i < dY.length; i++) {
      dTable[rows[i / hidden] * hidden + i % hidden] += scale * dY[i];
    }
  }
}
