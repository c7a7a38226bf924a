package dev.gatun.op.reference;

/** y = x * rstd * (weight + offset) over rows of weight.length elements. */
public final class RmsNormReference {
  private RmsNormReference() {}

  public static double[] rstd(double[] x, int dim, double eps) {
    double[] rstd = new double[x.length / dim];
    for (int r = 0; r < rstd.length; r++) {
      double squares = 0;
      for (int i = 0; i < dim; i++) {
        squares += x[r * dim + i] * x[r * dim + i];
      }
      rstd[r] = 1 / Math.sqrt(squares / dim + eps);
    }
    return rstd;
  }

  public static double[] forward(double[] x, double[] weight, double eps, double offset) {
    int dim = weight.length;
    double[] rstd = rstd(x, dim, eps);
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      y[i] = x[i] * rstd[i / dim] * (weight[i % dim] + offset);
    }
    return y;
  }

  /** dX of d y; dWeight is added to. */
  public static double[] backward(
      double[] dWeight, double[] dY, double[] x, double[] weight, double eps, double offset) {
    int dim = weight.length;
    double[] rstd = rstd(x, dim, eps);
    double[] dX = new double[x.length];
    for (int r = 0; r < rstd.length; r++) {
      double mean = 0;
      for (int i = 0; i < dim; i++) {
        int at = r * dim + i;
        double h = x[at] * rstd[r];
        mean += dY[at] * (weight[i] + offset) * h / dim;
        dWeight[i] += dY[at] * h;
      }
      for (int i = 0; i < dim; i++) {
        int at = r * dim + i;
        dX[at] = rstd[r] * (dY[at] * (weight[i] + offset) - x[at] * rstd[r] * mean);
      }
    }
    return dX;
  }
}
