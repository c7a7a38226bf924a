package dev.gatun.op.reference;

import java.util.function.IntToDoubleFunction;

/**
 * Attention with every score written down.
 *
 * @param segments queryBegin, queryLength, keyBegin, keyLength of each
 * @param window 0 for none
 */
public record AttentionReference(
    int[] segments, int heads, int kvHeads, int headDim, double scale, double softcap, int window) {

  /** {@code out [tokens, heads, headDim]} and {@code lse [tokens, heads]}; 0 outside segments. */
  public record Output(double[] out, double[] lse) {}

  /** What flows back. */
  public record Gradients(double[] dQ, double[] dK, double[] dV) {}

  /** {@code q [tokens, heads, headDim]}, {@code k, v [keyRows, kvHeads, headDim]}. */
  public Output forward(double[] q, double[] k, double[] v) {
    double[] out = new double[q.length];
    double[] lse = new double[q.length / headDim];
    forEachQuery(
        (query, firstKey, lastKey, head) -> {
          double[] p = probabilities(q, k, query, firstKey, lastKey, head);
          lse[query * heads + head] = p[p.length - 1];
          for (int j = firstKey; j <= lastKey; j++) {
            for (int i = 0; i < headDim; i++) {
              out[(query * heads + head) * headDim + i] += p[j - firstKey] * v[kv(j, head) + i];
            }
          }
        });
    return new Output(out, lse);
  }

  /** Gradients of {@code sum dOut * out}. */
  public Gradients backward(double[] dOut, double[] q, double[] k, double[] v) {
    double[] dQ = new double[q.length];
    double[] dK = new double[k.length];
    double[] dV = new double[v.length];
    forEachQuery(
        (query, firstKey, lastKey, head) -> {
          double[] p = probabilities(q, k, query, firstKey, lastKey, head);
          int row = (query * heads + head) * headDim;
          double[] dP = new double[lastKey - firstKey + 1];
          double meanDp = 0;
          for (int j = firstKey; j <= lastKey; j++) {
            int key = kv(j, head);
            dP[j - firstKey] = dot(i -> dOut[row + i] * v[key + i]);
            meanDp += p[j - firstKey] * dP[j - firstKey];
          }
          for (int j = firstKey; j <= lastKey; j++) {
            int key = kv(j, head);
            double raw = scale * dot(i -> q[row + i] * k[key + i]);
            double tanh = softcap > 0 ? Math.tanh(raw / softcap) : 0;
            double dRaw = p[j - firstKey] * (dP[j - firstKey] - meanDp) * (1 - tanh * tanh);
            for (int i = 0; i < headDim; i++) {
              dQ[row + i] += scale * dRaw * k[key + i];
              dK[key + i] += scale * dRaw * q[row + i];
              dV[key + i] += p[j - firstKey] * dOut[row + i];
            }
          }
        });
    return new Gradients(dQ, dK, dV);
  }

  /** Of keys firstKey to lastKey; behind them the log-sum-exp. */
  private double[] probabilities(
      double[] q, double[] k, int query, int firstKey, int lastKey, int head) {
    int row = (query * heads + head) * headDim;
    double[] p = new double[lastKey - firstKey + 2];
    double sum = 0;
    double largest = Double.NEGATIVE_INFINITY;
    for (int j = firstKey; j <= lastKey; j++) {
      int key = kv(j, head);
      double s = scale * dot(i -> q[row + i] * k[key + i]);
      p[j - firstKey] = softcap > 0 ? softcap * Math.tanh(s / softcap) : s;
      largest = Math.max(largest, p[j - firstKey]);
    }
    for (int j = 0; j < p.length - 1; j++) {
      sum += Math.exp(p[j] - largest);
    }
    double lse = largest + Math.log(sum);
    for (int j = 0; j < p.length - 1; j++) {
      p[j] = Math.exp(p[j] - lse);
    }
    p[p.length - 1] = lse;
    return p;
  }

  private interface QueryBody {
    void accept(int query, int firstKey, int lastKey, int head);
  }

  private void forEachQuery(QueryBody body) {
    for (int s = 0; s < segments.length; s += 4) {
      int queryBegin = segments[s];
      int queryLength = segments[s + 1];
      int keyBegin = segments[s + 2];
      int keyLength = segments[s + 3];
      for (int i = 0; i < queryLength; i++) {
        int last = i + keyLength - queryLength;
        int first = window > 0 ? Math.max(0, last - window + 1) : 0;
        for (int head = 0; head < heads; head++) {
          body.accept(queryBegin + i, keyBegin + first, keyBegin + last, head);
        }
      }
    }
  }

  private int kv(int keyRow, int head) {
    return (keyRow * kvHeads + head / (heads / kvHeads)) * headDim;
  }

  private double dot(IntToDoubleFunction term) {
    double sum = 0;
    for (int i = 0; i < headDim; i++) {
      sum += term.applyAsDouble(i);
    }
    return sum;
  }
}
