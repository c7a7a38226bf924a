package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.AttentionRun;
import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaOptions;
import dev.gatun.bindings.CudaLibraries;
import dev.gatun.bindings.CudaLibrary;
import dev.gatun.bindings.NativeLibraryException;
import dev.gatun.op.reference.AttentionReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * cuDNN's attention on a GPU, against the double reference. Counted as skipped where no GPU answers
 * or cuDNN is not installed.
 */
@Tag("gpu")
final class CudnnAttentionTest {
  private static final long SEED = Long.getLong("gatun.test.seed", 20261121);
  private static final double F32 = 0x1p-24;

  /** Of rounding to nearest with 8 bits of significand. */
  private static final double BF16 = 0x1p-9;

  private static final long CAPACITY_BYTES = 256L << 20;

  @TempDir static Path cache;
  private static Backend backend;

  private final Random random = new Random(SEED);

  /** Before each, so that each is counted. */
  @BeforeEach
  void open() {
    if (backend != null) {
      return;
    }
    assumeTrue(CudaLibraries.provider() == CudaLibraries.Provider.DEVICE, "CUDA is emulated");
    CudaLibraries.Finding cudnn = CudaLibraries.find(CudaLibrary.CUDNN, null);
    assumeTrue(cudnn.file() != null, cudnn.message());
    try {
      backend = CudaBackend.create(CudaOptions.DEFAULT.withCacheFolder(cache));
    } catch (BackendUnavailableException | NativeLibraryException e) {
      abort(e.getMessage());
    }
    System.out.println("seed " + SEED + ", " + backend.description());
  }

  @AfterAll
  static void close() {
    if (backend != null) {
      backend.close();
    }
  }

  /** A pair: the prompt and one answer, and another answer over a copy of the prompt. */
  @Test
  void aPair() {
    check(new int[] {0, 300, 0, 300, 300, 77, 300, 277}, 14, 2, 64, Layout.FUSED);
  }

  /** Lengths around tiles, and more segments than the fewest that a plan has. */
  @Test
  void segmentsOfAllLengths() {
    int[] lengths = {1, 2, 63, 64, 65, 127, 128, 129, 191, 255, 256, 257, 513};
    int[] fields = new int[4 * lengths.length];
    int query = 0;
    int key = 0;
    for (int s = 0; s < lengths.length; s++) {
      int keys = s % 2 == 0 ? lengths[s] : lengths[s] + 100;
      System.arraycopy(new int[] {query, lengths[s], key, keys}, 0, fields, 4 * s, 4);
      query += lengths[s];
      key += keys;
    }
    check(fields, 4, 2, 64, Layout.FUSED);
    check(fields, 4, 4, 128, Layout.APART);
  }

  @Test
  void headSizesAndGroups() {
    int[] fields = {0, 130, 0, 130, 130, 70, 130, 200};
    for (int headDim : new int[] {64, 80, 96, 128}) {
      check(fields, 8, 8, headDim, Layout.FUSED);
      check(fields, 8, 2, headDim, Layout.FUSED);
      check(fields, 8, 1, headDim, Layout.APART);
    }
  }

  /** Rows of a buffer that no segment has, before, between and behind them. */
  @Test
  void rowsOutsideSegmentsAreLeftAlone() {
    check(new int[] {3, 70, 5, 90, 80, 140, 100, 150}, 4, 2, 64, Layout.FUSED);
  }

  /** More segments than one launch of a deterministic backward pass takes. */
  @Test
  void segmentsInGroups() {
    int count = 40;
    int[] fields = new int[4 * count + 4];
    for (int s = 0; s < count; s++) {
      System.arraycopy(new int[] {20 * s, 20, 20 * s, 20}, 0, fields, 4 * s, 4);
    }
    System.arraycopy(new int[] {800, 1100, 800, 1100}, 0, fields, 4 * count, 4);
    check(fields, 16, 16, 64, Layout.FUSED);
  }

  @Test
  void autoChoosesOnceAndKeepsToIt() {
    AttentionRun run = run(8, 2, 64, 768, 768, new int[] {0, 512, 0, 512});
    String first = backend.planAttention(AttentionImplementation.AUTO, run);
    assertTrue(first.contains("cudnn ") && first.contains(" ms, gatun "), first);
    assertEquals(first, backend.planAttention(AttentionImplementation.AUTO, run));
  }

  /** Where the rows of q and dQ lie. */
  private enum Layout {
    /** Inside rows of q, k and v. */
    FUSED,
    /** q by itself, dQ inside fused rows: as with norms of queries. */
    APART
  }

  private static AttentionRun run(
      int heads, int kvHeads, int headDim, long qStride, long dQStride, int[] fields) {
    int tokens = 0;
    int keyRows = 0;
    int longest = 0;
    for (int i = 0; i < fields.length; i += 4) {
      tokens = Math.max(tokens, fields[i] + fields[i + 1]);
      keyRows = Math.max(keyRows, fields[i + 2] + fields[i + 3]);
      longest = Math.max(longest, fields[i + 3]);
    }
    return new AttentionRun(
        DType.BF16,
        heads,
        kvHeads,
        headDim,
        qStride,
        dQStride,
        (float) (1 / Math.sqrt(headDim)),
        0,
        0,
        fields.length / 4,
        longest,
        tokens + 9,
        keyRows + 9);
  }

  private void check(int[] fields, int heads, int kvHeads, int headDim, Layout layout) {
    int width = heads * headDim;
    int fused = (heads + 2 * kvHeads) * headDim;
    int qStride = layout == Layout.FUSED ? fused : width;
    AttentionRun run = run(heads, kvHeads, headDim, qStride, fused, fields);
    int tokens = run.tokens();
    int keyRows = run.keyRows();
    String plan = backend.planAttention(AttentionImplementation.CUDNN, run);
    String name = "%s: %d/%d heads of %d, %s".formatted(plan, heads, kvHeads, headDim, layout);
    AttentionOptions options = new AttentionOptions(run.scale(), 0, 0);
    AttentionReference reference =
        new AttentionReference(fields, heads, kvHeads, headDim, run.scale(), 0, 0);
    try (Slab slab = new Slab(backend.allocate("cuDNN test", CAPACITY_BYTES))) {
      Segments segments =
          Segments.upload(backend, Segments.allocate(slab, fields.length / 4), fields);
      Tensor qRows = random(slab, "q rows", tokens, qStride);
      Tensor q = qRows.columns("q", 0, heads, headDim);
      Tensor k = random(slab, "k", keyRows, kvHeads, headDim);
      Tensor v = random(slab, "v", keyRows, kvHeads, headDim);
      Tensor out = slab.allocate("out", DType.BF16, tokens, width);
      Tensor lse = slab.allocate("lse", DType.F32, tokens, heads);
      backend.zero(out);
      backend.zero(lse);
      Attention.forward(backend, out, lse, q, k, v, segments, options);
      double[] qs = columns(qRows, width);
      double[] ks = values(k);
      double[] vs = values(v);
      AttentionReference.Output expected = reference.forward(qs, ks, vs);
      // Scores are f32 sums of headDim products, which Cauchy and Schwarz bound; their absolute
      // error is the relative one of p. cuDNN rounds p to bf16 before it multiplies v.
      double score = run.scale() * longest(qs, headDim) * longest(ks, headDim);
      double p = (headDim + 4) * score * F32 + (run.longestKeys() + 16) * F32;
      double largestV = largest(vs);
      assertClose(name + " lse", expected.lse(), values(lse), i -> p + 2 * F32 * score);
      assertClose(
          name + " out",
          expected.out(),
          values(out),
          i -> (p + BF16) * largestV + BF16 * Math.abs(expected.out()[i]));

      Tensor dOut = random(slab, "dOut", tokens, width);
      Tensor dQRows = slab.allocate("dQ rows", DType.BF16, tokens, fused);
      Tensor dQ = dQRows.columns("dQ", 0, heads, headDim);
      Tensor dK = slab.allocate("dK", DType.BF16, keyRows, kvHeads, headDim);
      Tensor dV = slab.allocate("dV", DType.BF16, keyRows, kvHeads, headDim);
      for (Tensor zeroed : new Tensor[] {dQRows, dK, dV}) {
        backend.zero(zeroed);
      }
      Attention.backward(backend, dQ, dK, dV, dOut, out, lse, q, k, v, segments, options);
      double[] dOuts = values(dOut);
      AttentionReference.Gradients d = reference.backward(dOuts, qs, ks, vs);
      // dS = scale p (dOut . v - dOut . out): either product is at most dP; out carries a rounding
      // to bf16, and so does dS before it is multiplied. The p of a query sum to 1; those of a key
      // to what dV is when every dOut is 1. Heads of a group are rounded before they are summed.
      double dP = longest(dOuts, headDim) * longest(vs, headDim);
      double dS = run.scale() * dP * (3 * BF16 + (headDim + 16) * F32 + 2 * p);
      double[] ones = new double[dOuts.length];
      Arrays.fill(ones, 1);
      double[] perKey = reference.backward(ones, qs, ks, vs).dV();
      double largestK = largest(ks);
      double largestQ = largest(qs);
      double largestDOut = largest(dOuts);
      int group = heads / kvHeads;
      double sums = (double) tokens * group * F32;
      assertClose(
          name + " dQ",
          d.dQ(),
          columns(dQRows, width),
          i -> (dS + sums * run.scale() * dP) * largestK + BF16 * Math.abs(d.dQ()[i]));
      assertClose(
          name + " dK",
          d.dK(),
          values(dK),
          i ->
              perKey[i] * (dS + (2 * BF16 + sums) * 2 * run.scale() * dP) * largestQ
                  + BF16 * Math.abs(d.dK()[i]));
      assertClose(
          name + " dV",
          d.dV(),
          values(dV),
          i -> perKey[i] * (p + 2 * BF16 + sums) * largestDOut + BF16 * Math.abs(d.dV()[i]));
      // Columns behind dQ are another tensor's.
      float[] all = backend.downloadF32(dQRows);
      for (int t = 0; t < tokens; t++) {
        assertArrayEquals(
            new float[fused - width],
            Arrays.copyOfRange(all, t * fused + width, (t + 1) * fused),
            name + " columns behind dQ");
      }
      if (!plan.contains("differ from run to run")) {
        float[] dQFirst = backend.downloadF32(dQRows);
        float[] dKFirst = backend.downloadF32(dK);
        Attention.backward(backend, dQ, dK, dV, dOut, out, lse, q, k, v, segments, options);
        assertArrayEquals(dQFirst, backend.downloadF32(dQRows), name + " dQ again");
        assertArrayEquals(dKFirst, backend.downloadF32(dK), name + " dK again");
      }
    }
  }

  private Tensor random(Slab slab, String name, long... shape) {
    Tensor tensor = slab.allocate(name, DType.BF16, shape);
    short[] bits = new short[Math.toIntExact(tensor.elementCount())];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16);
    }
    backend.upload(tensor, MemorySegment.ofArray(bits));
    return tensor;
  }

  private static double[] values(Tensor tensor) {
    float[] values = backend.downloadF32(tensor);
    double[] doubles = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      doubles[i] = values[i];
    }
    return doubles;
  }

  /** The first {@code width} columns of a matrix. */
  private static double[] columns(Tensor matrix, int width) {
    double[] all = values(matrix);
    int rows = Math.toIntExact(matrix.dim(0));
    double[] first = new double[rows * width];
    for (int row = 0; row < rows; row++) {
      System.arraycopy(all, Math.toIntExact(row * matrix.dim(1)), first, row * width, width);
    }
    return first;
  }

  private static void assertClose(
      String what, double[] expected, double[] got, IntToDoubleFunction tolerance) {
    assertEquals(expected.length, got.length, what);
    for (int i = 0; i < got.length; i++) {
      if (!(Math.abs(got[i] - expected[i]) <= tolerance.applyAsDouble(i))) {
        throw new AssertionError(
            "%s[%d] is %s, expected %s +- %s"
                .formatted(what, i, got[i], expected[i], tolerance.applyAsDouble(i)));
      }
    }
  }

  private static double largest(double[] values) {
    return Arrays.stream(values).map(Math::abs).max().orElse(0);
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
}
