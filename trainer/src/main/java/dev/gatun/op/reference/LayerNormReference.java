package dev.gatun.op.reference;

/** y = (x - mean) * rstd * weight + bias over rows of weight.length elements. */
public final class LayerNormReference {
  private LayerNormReference() {}

  public static double[] mean(double[] x, int dim) {
    double[] mean = new double[x.length / dim];
    for (int i = 0; i < x.length; i++) {
      mean[i / dim] += x[i] / dim;
    }
    return mean;
  }

  public static double[] rstd(double[] x, int dim, double eps) {
    double[] mean = mean(x, dim);
    double[] rstd = new double[mean.length];
    for (int i = 0; i < x.length; i++) {
      double centered = x[i] - mean[i / dim];
      rstd[i / dim] += centered * centered / dim;
    }
    for (int r = 0; r < rstd.length; r++) {
      rstd[r] = 1 / Math.sqrt(rstd[r] + eps);
    }
    return rstd;
  }

  public static double[] forward(double[] x, double[] weight, double[] bias, double eps) {
    int dim = weight.length;
    double[] mean = mean(x, dim);
    double[] rstd = rstd(x, dim, eps);
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      y[i] = (x[i] - mean[i / dim]) * rstd[i / dim] * weight[i % dim] + bias[i % dim];
    }
    return y;
  }

  /** dX of dY; dWeight and dBias are added to. */
  public static double[] backward(
      double[] dWeight, double[] dBias, double[] dY, double[] x, double[] weight, double eps) {
    int dim = weight.length;
    double[] mean = mean(x, dim);
    double[] rstd = rstd(x, dim, eps);
    double[] dX = new double[x.length];
    for (int r = 0; r < rstd.length; r++) {
      double meanG = 0;
      double meanGh = 0;
      for (int i = 0; i < dim; i++) {
        int at = r * dim + i;
        double h = (x[at] - mean[r]) * rstd[r];
        double g = dY[at] * weight[i];
        meanG += g / dim;
        meanGh += g * h / dim;
        dWeight[i] += dY[at] * h;
        dBias[i] += dY[at];
      }
      for (int i = 0; i < dim; i++) {
        int at = r * dim + i;
        double h = (x[at] - mean[r]) * rstd[r];
        dX[at] = rstd[r] * (dY[at] * weight[i] - meanG - h * meanGh);
      }
    }
    return dX;
  }
}
