package dev.gatun.op.reference;

import java.util.Random;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The references' gradients are those of their forward passes. */
final class ReferenceGradientTest {
  private final Random random = new Random(7);

  private double[] normals(int count) {
    return random.doubles(count, -2, 2).toArray();
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static void check(
      String name, double[] gradient, double[] at, ToDoubleFunction<double[]> function) {
    CentralDifference.check(name, gradient, at, function);
  }

  @Test
  void rmsNorm() {
    double[] x = normals(3 * 5);
    double[] weight = normals(5);
    double[] dY = normals(3 * 5);
    double[] dWeight = new double[5];
    double[] dX = RmsNormReference.backward(dWeight, dY, x, weight, 1e-2, 1);
    check("dX", dX, x, v -> dot(dY, RmsNormReference.forward(v, weight, 1e-2, 1)));
    check("dWeight", dWeight, weight, v -> dot(dY, RmsNormReference.forward(x, v, 1e-2, 1)));
  }

  @Test
  void layerNorm() {
    double[] x = normals(3 * 5);
    double[] weight = normals(5);
    double[] bias = normals(5);
    double[] dY = normals(3 * 5);
    double[] dWeight = new double[5];
    double[] dBias = new double[5];
    double[] dX = LayerNormReference.backward(dWeight, dBias, dY, x, weight, 1e-2);
    check("dX", dX, x, v -> dot(dY, LayerNormReference.forward(v, weight, bias, 1e-2)));
    check("dWeight", dWeight, weight, v -> dot(dY, LayerNormReference.forward(x, v, bias, 1e-2)));
    check("dBias", dBias, bias, v -> dot(dY, LayerNormReference.forward(x, weight, v, 1e-2)));
  }

  @Test
  void rope() {
    int[] positions = {2, 0, 1};
    double[] cos = normals(3 * 2);
    double[] sin = normals(3 * 2);
    double[] x = normals(3 * 2 * 4);
    double[] dY = normals(3 * 2 * 4);
    check(
        "dX",
        RopeReference.rotate(dY, cos, sin, positions, 2, 4, -1),
        x,
        v -> dot(dY, RopeReference.rotate(v, cos, sin, positions, 2, 4, 1)));
  }

  @Test
  void activations() {
    for (double x = -6; x <= 6; x += 0.37) {
      check(
          "silu",
          new double[] {ActivationReference.siluSlope(x)},
          new double[] {x},
          v -> ActivationReference.silu(v[0]));
      check(
          "gelu",
          new double[] {ActivationReference.geluSlope(x)},
          new double[] {x},
          v -> ActivationReference.gelu(v[0]));
    }
  }

  @ParameterizedTest
  @CsvSource({"0, 0", "1.5, 0", "0, 2", "1.5, 2"})
  void attention(double softcap, int window) {
    AttentionReference reference =
        new AttentionReference(new int[] {0, 3, 0, 3, 3, 2, 3, 4}, 4, 2, 3, 0.7, softcap, window);
    double[] q = normals(5 * 4 * 3);
    double[] k = normals(7 * 2 * 3);
    double[] v = normals(7 * 2 * 3);
    double[] dOut = normals(5 * 4 * 3);
    AttentionReference.Gradients d = reference.backward(dOut, q, k, v);
    check("dQ", d.dQ(), q, x -> dot(dOut, reference.forward(x, k, v).out()));
    check("dK", d.dK(), k, x -> dot(dOut, reference.forward(q, x, v).out()));
    check("dV", d.dV(), v, x -> dot(dOut, reference.forward(q, k, x).out()));
  }

  @ParameterizedTest
  @CsvSource({"0", "3"})
  void logProb(double softcap) {
    double[] logits = normals(9);
    int[] targets = {4, 0, 4};
    double[] dLogProb = normals(3);
    check(
        "dLogits",
        LogProbReference.backward(logits, softcap, targets, dLogProb),
        logits,
        x -> {
          double[] z = LogProbReference.capped(x, softcap);
          double sum = 0;
          for (int n = 0; n < targets.length; n++) {
            sum += dLogProb[n] * (z[targets[n]] - LogProbReference.logSumExp(z));
          }
          return sum;
        });
  }
}
