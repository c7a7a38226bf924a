package dev.gatun.op.reference;

/** Matrix products. */
public final class LinearReference {
  private LinearReference() {}

  /** {@code a [m, k]} times {@code b [k, n]}. */
  public static double[] product(double[] a, double[] b, int m, int k, int n) {
    double[] c = new double[m * n];
    for (int i = 0; i < m; i++) {
      for (int l = 0; l < k; l++) {
        for (int j = 0; j < n; j++) {
          c[i * n + j] += a[i * k + l] * b[l * n + j];
        }
      }
    }
    return c;
  }

  /** {@code a [rows, columns]} transposed. */
  public static double[] transposed(double[] a, int rows, int columns) {
    double[] t = new double[a.length];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        t[j * rows + i] = a[i * columns + j];
      }
    }
    return t;
  }

  /** Adds the rows of {@code a [rows, sums.length]} to {@code sums}. */
  public static void addColumnSums(double[] sums, double[] a) {
    for (int i = 0; i < a.length; i++) {
      sums[i % sums.length] += a[i];
    }
  }
}
