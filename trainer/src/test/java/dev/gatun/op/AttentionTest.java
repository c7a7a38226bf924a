package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.AttentionReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class AttentionTest {
  /** Two pairs that share their prompts, one answer of one token, and a cached decoding step. */
  private static final int[] MIXED = {
    0, 9, 0, 9, 9, 4, 9, 11, 13, 1, 20, 1, 14, 37, 21, 37, 51, 5, 58, 42, 57, 1, 100, 70
  };

  @BackendTest
  void bothPassesOfHeadSizesAndOptions(BackendCase backendCase) {
    for (int headDim : new int[] {8, 16, 24, 64, 72, 128, 256}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        check(device, MIXED, 58, 170, 4, 2, headDim, new AttentionOptions(0.25f, 0, 0));
      }
    }
    for (AttentionOptions options :
        new AttentionOptions[] {
          new AttentionOptions(0.3f, 2, 0),
          new AttentionOptions(0.3f, 0, 1),
          new AttentionOptions(0.3f, 0, 5),
          new AttentionOptions(0.3f, 1.5f, 7)
        }) {
      for (int kvHeads : new int[] {1, 3, 6}) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          check(device, MIXED, 58, 170, 6, kvHeads, 16, options);
        }
      }
    }
  }

  /** Around the sizes of the kernels' blocks. */
  @BackendTest
  void lengthsAroundBlocks(BackendCase backendCase) {
    for (int length : new int[] {1, 2, 15, 16, 17, 47, 48, 49, 63, 64, 65, 127, 129, 193}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        check(
            device,
            new int[] {0, length, 0, length},
            length,
            length,
            2,
            2,
            8,
            new AttentionOptions(0.5f, 0, 0));
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    int[] segments = {0, 150, 0, 150, 150, 61, 150, 161, 211, 90, 311, 90};
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> check(device, segments, 301, 401, 8, 2, 32, new AttentionOptions(0.2f, 0, 0)));
  }

  private static void check(
      TestDevice device,
      int[] fields,
      int tokens,
      int keyRows,
      int heads,
      int kvHeads,
      int headDim,
      AttentionOptions options) {
    AttentionReference reference =
        new AttentionReference(
            fields, heads, kvHeads, headDim, options.scale(), options.softcap(), options.window());
    Segments segments = segments(device, fields);
    DType dtype = device.dtype();
    long width = (long) heads * headDim;
    Tensor q = device.stridedNormal("q", dtype, 0, 3, tokens, heads, headDim);
    Tensor k = device.normal("k", dtype, keyRows, kvHeads, headDim);
    Tensor v = device.normal("v", dtype, keyRows, kvHeads, headDim);
    // Rows outside the segments stay what they are: zero here, as in the reference.
    Tensor out = device.given("out", dtype, new double[tokens * heads * headDim], tokens, width);
    Tensor lse = device.given("lse", DType.F32, new double[tokens * heads], tokens, heads);
    Attention.forward(device.backend(), out, lse, q, k, v, segments, options);
    double[] qs = device.values(q);
    double[] ks = device.values(k);
    double[] vs = device.values(v);
    AttentionReference.Output expected = reference.forward(qs, ks, vs);
    double largestV = TestDevice.largest(vs);
    // A score is a sum of headDim products, which Cauchy and Schwarz bound with their magnitudes;
    // its absolute error is the relative one of its exponential.
    double score = options.scale() * longest(qs, headDim) * longest(ks, headDim);
    double scoreRoundings = (headDim + 4) * score;
    device.assertClose(lse, expected.lse(), scoreRoundings + keyRows + 16, 1);
    device.assertClose(out, expected.out(), scoreRoundings + keyRows + 16, largestV);

    Tensor dOut = device.normal("dOut", dtype, tokens, width);
    Tensor dQ = device.strided("dQ", dtype, 1, 1, tokens, heads, headDim);
    Tensor dK = device.output("dK", dtype, keyRows, kvHeads, headDim);
    Tensor dV = device.output("dV", dtype, keyRows, kvHeads, headDim);
    device.set(dQ, new double[tokens * heads * headDim]);
    device.set(dK, new double[keyRows * kvHeads * headDim]);
    device.set(dV, new double[keyRows * kvHeads * headDim]);
    double[] dOuts = device.values(dOut);
    Attention.backward(device.backend(), dQ, dK, dV, dOut, out, lse, q, k, v, segments, options);
    AttentionReference.Gradients d = reference.backward(dOuts, qs, ks, vs);
    // dS = p (dOut . v - dOut . out): sums of headDim products; out carries its storage rounding,
    // which in units of f32's is the quotient of the roundoffs.
    double storage = TestDevice.roundoff(dtype) / TestDevice.F32_ROUNDOFF;
    double dP = longest(dOuts, headDim) * longest(vs, headDim);
    double dS = options.scale() * dP * (headDim + 16 + storage + 2 * scoreRoundings);
    // The p of a query sum to 1, those of a key to what dV is when every dOut is 1.
    double[] ones = new double[dOuts.length];
    Arrays.fill(ones, 1);
    double[] p = reference.backward(ones, qs, ks, vs).dV();
    int group = heads / kvHeads;
    double roundings = group * tokens + 16 + scoreRoundings;
    device.assertClose(dQ, d.dQ(), 1, dS * TestDevice.largest(ks));
    device.assertClose(dK, d.dK(), 1, scaled(p, (dS + group * tokens) * TestDevice.largest(qs)));
    device.assertClose(dV, d.dV(), roundings, scaled(p, TestDevice.largest(dOuts)));
  }

  /** Euclidean length of the longest row of {@code dim} elements. */
  private static double longest(double[] values, int dim) {
    double longest = 0;
    for (int row = 0; row < values.length; row += dim) {
      double squares = 0;
      for (int i = row; i < row + dim; i++) {
        squares += values[i] * values[i];
      }
      longest = Math.max(longest, Math.sqrt(squares));
    }
    return longest;
  }

  private static double[] scaled(double[] values, double factor) {
    return Arrays.stream(values).map(value -> value * factor).toArray();
  }

  @Test
  void handComputed() {
    // One head of 8, two keys with scores 0 and ln 3: probabilities 1/4 and 3/4.
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor q = device.given("q", DType.F32, row(0, 1), 1, 1, 8);
      double[] keys = new double[16];
      keys[8] = Math.log(3);
      Tensor k = device.given("k", DType.F32, keys, 2, 1, 8);
      double[] values = new double[16];
      values[3] = 4;
      values[11] = 8;
      Tensor v = device.given("v", DType.F32, values, 2, 1, 8);
      Tensor out = device.output("out", DType.F32, 1, 8);
      Tensor lse = device.output("lse", DType.F32, 1, 1);
      Attention.forward(
          device.backend(),
          out,
          lse,
          q,
          k,
          v,
          segments(device, 0, 1, 0, 2),
          new AttentionOptions(1, 0, 0));
      device.assertClose(out, row(3, 7), 8, 8);
      device.assertClose(lse, new double[] {Math.log(4)}, 8, 2);
    }
  }

  private static double[] row(int at, double value) {
    double[] row = new double[8];
    row[at] = value;
    return row;
  }

  @Test
  void segmentsAreChecked() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      assertEquals(
          "attention: segment 1 is queries [2, +3) over keys [2, +2),"
              + " expected keyLength >= queryLength >= 1 and no negative begin",
          message(() -> segments(device, 0, 2, 0, 2, 2, 3, 2, 2)));
      assertEquals(
          "attention: segments have overlapping queries",
          message(() -> segments(device, 0, 2, 0, 2, 1, 1, 2, 2)));
      assertEquals(
          "attention: segments have 3 numbers, expected 4 for each",
          message(() -> segments(device, 0, 2, 0)));
      Tensor q = device.normal("q", DType.F32, 4, 2, 8);
      Tensor k = device.normal("k", DType.F32, 4, 2, 8);
      Tensor lse = device.normal("lse", DType.F32, 4, 2);
      AttentionOptions options = new AttentionOptions(1, 0, 0);
      assertEquals(
          "attention: segments have keys up to row 5, k has 4 rows",
          message(
              () ->
                  Attention.forward(
                      device.backend(), q, null, q, k, k, segments(device, 0, 4, 0, 5), options)));
      assertEquals(
          "attention: segments share keys, expected disjoint for gradients",
          message(
              () ->
                  Attention.backward(
                      device.backend(),
                      q,
                      k,
                      k,
                      q,
                      q,
                      lse,
                      q,
                      k,
                      k,
                      segments(device, 0, 2, 0, 2, 2, 1, 1, 2),
                      options)));
    }
  }

  private static Segments segments(TestDevice device, int... fields) {
    Tensor table = device.output("segments", DType.I32, Math.ceilDiv(fields.length, 4), 4);
    return Segments.upload(device.backend(), table, fields);
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
