package dev.gatun.op.reference;

/** y[i] = x[rows[i]], rows of dim elements. */
public final class GatherReference {
  private GatherReference() {}

  public static double[] forward(double[] x, int[] rows, int dim) {
    double[] y = new double[rows.length * dim];
    for (int i = 0; i < y.length; i++) {
      y[i] = x[rows[i / dim] * dim + i % dim];
    }
    return y;
  }

  /** dX of tokens rows, zero but for rows. */
  public static double[] backward(double[] dY, int[] rows, int tokens, int dim) {
    double[] dX = new double[tokens * dim];
    for (int i = 0; i < dY.length; i++) {
      dX[rows[i / dim] * dim + i % dim] = dY[i];
    }
    return dX;
  }
}
