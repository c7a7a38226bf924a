package dev.gatun.op.reference;

/** Statistics of one row of logits. */
public final class LogProbReference {
  private LogProbReference() {}

  /** z = softcap tanh(logit / softcap), or the logits. */
  public static double[] capped(double[] logits, double softcap) {
    double[] z = logits.clone();
    for (int i = 0; softcap > 0 && i < z.length; i++) {
      z[i] = softcap * Math.tanh(logits[i] / softcap);
    }
    return z;
  }

  public static double logSumExp(double[] z) {
    double largest = Double.NEGATIVE_INFINITY;
    for (double value : z) {
      largest = Math.max(largest, value);
    }
    double sum = 0;
    for (double value : z) {
      sum += Math.exp(value - largest);
    }
    return largest + Math.log(sum);
  }

  public static double entropy(double[] z) {
    double lse = logSumExp(z);
    double entropy = lse;
    for (double value : z) {
      entropy -= Math.exp(value - lse) * value;
    }
    return entropy;
  }

  /** Index of the largest, the first of equals. */
  public static int argmax(double[] z) {
    int argmax = 0;
    for (int j = 1; j < z.length; j++) {
      argmax = z[j] > z[argmax] ? j : argmax;
    }
    return argmax;
  }

  public static double logSumSquare(double[] z) {
    double lse = logSumExp(z);
    double sum = 0;
    for (double value : z) {
      sum += Math.exp(2 * (value - lse));
    }
    return Math.log(sum);
  }

  /** Gradient, by the logits, of {@code sum over n of dLogProb[n] * logProb(targets[n])}. */
  public static double[] backward(
      double[] logits, double softcap, int[] targets, double[] dLogProb) {
    double[] z = capped(logits, softcap);
    double lse = logSumExp(z);
    double[] d = new double[z.length];
    for (int n = 0; n < targets.length; n++) {
      for (int j = 0; j < z.length; j++) {
        d[j] += dLogProb[n] * ((j == targets[n] ? 1 : 0) - Math.exp(z[j] - lse));
      }
    }
    for (int j = 0; softcap > 0 && j < z.length; j++) {
      d[j] *= 1 - (z[j] / softcap) * (z[j] / softcap);
    }
    return d;
  }
}
