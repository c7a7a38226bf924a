package dev.gatun.selftest;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CudaBackend;
import dev.gatun.op.Attention;
import dev.gatun.op.AttentionOptions;
import dev.gatun.op.Segments;
import dev.gatun.op.reference.AttentionReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What {@link Attention} must do. */
public final class AttentionContract {
  /** Two pairs that share their prompts, one answer of one token, and a cached decoding step. */
  private static final int[] MIXED = {
    0, 9, 0, 9, 9, 4, 9, 11, 13, 1, 20, 1, 14, 37, 21, 37, 51, 5, 58, 42, 57, 1, 100, 70
  };

  private static final int MIXED_TOKENS = 58;

  private static final int MIXED_KEY_ROWS = 170;

  private AttentionContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    boolean full = extent == Extent.FULL;
    for (int headDim : full ? new int[] {8, 64, 72, 128, 256} : new int[] {16}) {
      cases.add(mixedCase(4, 2, headDim, new AttentionOptions(0.25f, 0, 0)));
    }
    for (AttentionOptions options :
        List.of(
            new AttentionOptions(0.3f, 2, 0),
            new AttentionOptions(0.3f, 0, 1),
            new AttentionOptions(0.3f, 0, 5),
            new AttentionOptions(0.3f, 1.5f, 7))) {
      for (int kvHeads : full ? new int[] {1, 3, 6} : new int[] {3}) {
        cases.add(mixedCase(6, kvHeads, 16, options));
      }
    }
    // Around the sizes of kernels' blocks.
    for (int length :
        full ? new int[] {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129} : new int[] {1, 65}) {
      cases.add(
          new OpCase(
              "one segment of " + length,
              bench ->
                  check(
                      bench,
                      new int[] {0, length, 0, length},
                      length,
                      length,
                      2,
                      2,
                      64,
                      new AttentionOptions(0.125f, 0, 0))));
    }
    return cases;
  }

  private static OpCase mixedCase(int heads, int kvHeads, int headDim, AttentionOptions options) {
    return new OpCase(
        "shared prompts, heads %d, kvHeads %d, headDim %d, softcap %s, window %d"
            .formatted(heads, kvHeads, headDim, options.softcap(), options.window()),
        bench -> mixed(bench, heads, kvHeads, headDim, options));
  }

  /** Both passes over two pairs that share their prompts, a lone token, and a decoding step. */
  public static void mixed(
      Workbench bench, int heads, int kvHeads, int headDim, AttentionOptions options) {
    check(bench, MIXED, MIXED_TOKENS, MIXED_KEY_ROWS, heads, kvHeads, headDim, options);
  }

  /** Both passes. */
  public static void check(
      Workbench bench,
      int[] fields,
      int tokens,
      int keyRows,
      int heads,
      int kvHeads,
      int headDim,
      AttentionOptions options) {
    bench.runs("attention_forward");
    AttentionReference reference =
        new AttentionReference(
            fields, heads, kvHeads, headDim, options.scale(), options.softcap(), options.window());
    Segments segments = segments(bench, fields);
    DType dtype = bench.dtype();
    long width = (long) heads * headDim;
    Tensor q = bench.stridedNormal("q", dtype, 0, 3, tokens, heads, headDim);
    Tensor k = bench.normal("k", dtype, keyRows, kvHeads, headDim);
    Tensor v = bench.normal("v", dtype, keyRows, kvHeads, headDim);
    // Rows outside the segments stay what they are: zero here, as in the reference.
    Tensor out = bench.given("out", dtype, new double[tokens * heads * headDim], tokens, width);
    Tensor lse = bench.given("lse", DType.F32, new double[tokens * heads], tokens, heads);
    Attention.forward(bench.backend(), out, lse, q, k, v, segments, options);
    double[] qs = bench.values(q);
    double[] ks = bench.values(k);
    double[] vs = bench.values(v);
    AttentionReference.Output expected = reference.forward(qs, ks, vs);
    double largestV = Workbench.largest(vs);
    // A score is a sum of headDim products, which Cauchy and Schwarz bound with their magnitudes;
    // its absolute error is the relative one of its exponential.
    double score = options.scale() * longest(qs, headDim) * longest(ks, headDim);
    double scoreRoundings = (headDim + 4) * score;
    // In units of f32's roundoff: that of the storage type, which the output carries and, on tensor
    // cores and where the CPU multiplies pairs of bf16, each probability and each dS, since what
    // they
    // multiply is stored.
    double storage = Workbench.roundoff(dtype) / Workbench.F32_ROUNDOFF;
    double operands = roundsProbabilities(bench.backend(), dtype) ? storage : 0;
    bench.assertClose(lse, expected.lse(), scoreRoundings + keyRows + 16, 1);
    bench.assertClose(out, expected.out(), scoreRoundings + keyRows + 16 + operands, largestV);

    bench.runs("attention_backward");
    Tensor dOut = bench.normal("dOut", dtype, tokens, width);
    Tensor dQ = bench.strided("dQ", dtype, 1, 1, tokens, heads, headDim);
    Tensor dK = bench.output("dK", dtype, keyRows, kvHeads, headDim);
    Tensor dV = bench.output("dV", dtype, keyRows, kvHeads, headDim);
    bench.set(dQ, new double[tokens * heads * headDim]);
    bench.set(dK, new double[keyRows * kvHeads * headDim]);
    bench.set(dV, new double[keyRows * kvHeads * headDim]);
    double[] dOuts = bench.values(dOut);
    Attention.backward(bench.backend(), dQ, dK, dV, dOut, out, lse, q, k, v, segments, options);
    AttentionReference.Gradients d = reference.backward(dOuts, qs, ks, vs);
    // dS = p (dOut . v - dOut . out): sums of headDim products.
    double dP = longest(dOuts, headDim) * longest(vs, headDim);
    double dS = options.scale() * dP * (headDim + 16 + storage + operands + 2 * scoreRoundings);
    // The p of a query sum to 1, those of a key to what dV is when every dOut is 1.
    double[] ones = new double[dOuts.length];
    Arrays.fill(ones, 1);
    double[] p = reference.backward(ones, qs, ks, vs).dV();
    int group = heads / kvHeads;
    double roundings = group * tokens + 16 + scoreRoundings + operands;
    bench.assertClose(dQ, d.dQ(), 1, dS * Workbench.largest(ks));
    bench.assertClose(dK, d.dK(), 1, scaled(p, (dS + group * tokens) * Workbench.largest(qs)));
    bench.assertClose(dV, d.dV(), roundings, scaled(p, Workbench.largest(dOuts)));
  }

  private static boolean roundsProbabilities(Backend backend, DType dtype) {
    return switch (backend) {
      case CudaBackend cuda -> true;
      case CpuBackend cpu -> dtype == DType.BF16 && cpu.isa().equals("v4-bf16");
    };
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

  private static Segments segments(Workbench bench, int... fields) {
    Tensor table = bench.output("segments", DType.I32, Math.ceilDiv(fields.length, 4), 4);
    return Segments.upload(bench.backend(), table, fields);
  }
}
