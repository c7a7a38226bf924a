package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CudaOptions.MatmulChoice;
import dev.gatun.memory.Allocations;
import dev.gatun.memory.Buffer;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.op.reference.LinearReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * On the emulated GPU: the build sets {@code gatun.cuda=simt} for all tests. {@code check-gpu} runs
 * them on a real one, but for those that are about the emulation.
 */
@Tag("gpu")
final class CudaBackendTest {
  private static final CudaOptions PLAIN = CudaOptions.DEFAULT.withCacheFolder(null);

  /** Unit roundoffs. */
  private static final double F32 = 0x1p-24;

  private static final double BF16 = 0x1p-8;

  @TempDir private Path temp;

  @Test
  @Tag("simt")
  void saysThatItIsAnEmulation() {
    try (CudaBackend backend = CudaBackend.create(PLAIN)) {
      assertEquals("cuda", backend.name());
      assertEquals("cuda (SIMT emulation on the CPU, for tests)", backend.description());
      assertEquals(List.of(), backend.notes());
    }
  }

  @Test
  @Tag("simt")
  void aDeviceThatIsNotThereIsNamed() {
    BackendUnavailableException e =
        assertThrows(
            BackendUnavailableException.class, () -> CudaBackend.create(PLAIN.withDevice(7)));
    assertEquals(
        "cuda:7: this machine shows 1 GPU, counted from 0; look at CUDA_VISIBLE_DEVICES too",
        e.getMessage());
  }

  @Test
  void memoryIsZeroedUnreadableAndGivenBack() {
    List<Allocations.Allocation> before = Allocations.live();
    CudaBackend backend = CudaBackend.create(PLAIN);
    try (Buffer buffer = backend.allocate("x", 4000)) {
      assertTrue(buffer.isOnDevice());
      assertThrows(
          IndexOutOfBoundsException.class, () -> buffer.segment().get(ValueLayout.JAVA_BYTE, 0));
      Tensor x = new Tensor("x", DType.F32, new long[] {1000}, buffer, 0);
      assertArrayEquals(new float[1000], backend.downloadF32(x));
    }
    backend.close();
    backend.close();
    assertEquals(before, Allocations.live());
  }

  /** Larger than the ring of pinned blocks, which four times 4 MiB are, and of odd length. */
  @Test
  void largeTensorsPassThePinnedRing() {
    int count = 7_000_003;
    float[] values = new float[count];
    Random random = new Random(1);
    for (int i = 0; i < count; i++) {
      values[i] = random.nextFloat();
    }
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 4L * count + 4096))) {
      Tensor small = slab.allocate("small", DType.I32, 5);
      Tensor x = slab.allocate("x", DType.F32, count);
      for (int round = 0; round < 3; round++) {
        backend.upload(small, new int[] {round, 1, 2, 3, 4});
        values[count / 2] = round;
        backend.upload(x, values);
        float[] sent = values.clone();
        values[0] = -1; // What was handed over no longer matters.
        assertArrayEquals(sent, backend.downloadF32(x));
        values[0] = sent[0];
        assertArrayEquals(new int[] {round, 1, 2, 3, 4}, backend.downloadI32(small));
      }
      ByteBuffer view = backend.hostView(x, 4L * (count - 3), 12).order(ByteOrder.nativeOrder());
      assertEquals(values[count - 2], view.getFloat(4));
      assertTrue(view.isReadOnly());
      backend.zero(x);
      assertArrayEquals(new float[count], backend.downloadF32(x));
    }
  }

  @Test
  void copiesOnTheDevice() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 4096))) {
      Tensor x = slab.allocate("x", DType.F32, 3);
      Tensor y = slab.allocate("y", DType.F32, 3);
      backend.upload(x, new float[] {1, 2, 3});
      backend.copy(y, x);
      backend.zero(x);
      assertArrayEquals(new float[] {1, 2, 3}, backend.downloadF32(y));
    }
  }

  @Test
  void exhaustionNamesTheBufferAndWhatIsFree() {
    try (CudaBackend backend = CudaBackend.create(PLAIN)) {
      MemoryExhaustedException e =
          assertThrows(MemoryExhaustedException.class, () -> backend.allocate("weights", 1L << 50));
      assertTrue(
          e.getMessage()
              .matches(
                  "weights: cuda:0 refused 1125899906842624 bytes \\(1048576\\.0 GiB\\),"
                      + " [0-9.]+ GiB of its [0-9.]+ GiB are free; choose a smaller model or"
                      + " batch, or end what else uses the device"),
          e.getMessage());
      backend.allocate("small", 64).close(); // The refusal does not stay.
    }
  }

  @Test
  void productsOfEveryKind() {
    Random random = new Random(2);
    try (CudaBackend backend = CudaBackend.create(PLAIN)) {
      for (int[] extents : new int[][] {{1, 1, 1}, {3, 5, 2}, {17, 8, 15}, {24, 40, 56}}) {
        for (DType operands : List.of(DType.F32, DType.BF16)) {
          for (DType result :
              operands == DType.F32 ? List.of(DType.F32) : List.of(operands, DType.F32)) {
            for (int bits = 0; bits < 32; bits++) {
              check(backend, random, extents, operands, result, bits);
            }
          }
        }
      }
    }
  }

  /** Bits: transposes of a and b, bias, accumulation, gaps between rows. */
  private static void check(
      CudaBackend backend, Random random, int[] extents, DType operands, DType result, int bits) {
    int m = extents[0];
    int n = extents[1];
    int k = extents[2];
    boolean swapA = (bits & 1) != 0;
    boolean swapB = (bits & 2) != 0;
    int gap = (bits & 16) != 0 ? 3 : 0;
    try (Slab slab = new Slab(backend.allocate("slab", 1 << 20))) {
      Tensor a = matrix(backend, slab, random, operands, swapA ? k : m, swapA ? m : k, gap);
      Tensor b = matrix(backend, slab, random, operands, swapB ? n : k, swapB ? k : n, gap);
      Tensor c = matrix(backend, slab, random, result, m, n, gap);
      Tensor bias = (bits & 4) != 0 ? vector(backend, slab, random, operands, n) : null;
      Accumulate accumulate = (bits & 8) != 0 ? Accumulate.ADD : Accumulate.OVERWRITE;

      double[] as = values(backend, a);
      double[] bs = values(backend, b);
      double[] expected =
          LinearReference.product(
              swapA ? LinearReference.transposed(as, k, m) : as,
              swapB ? LinearReference.transposed(bs, n, k) : bs,
              m,
              k,
              n);
      double[] before = values(backend, c);
      double[] biases = bias == null ? new double[n] : values(backend, bias);
      for (int i = 0; i < expected.length; i++) {
        expected[i] += biases[i % n] + (accumulate == Accumulate.ADD ? before[i] : 0);
      }
      backend.matmul(
          c,
          a,
          swapA ? Transpose.YES : Transpose.NO,
          b,
          swapB ? Transpose.YES : Transpose.NO,
          bias,
          accumulate);
      double[] actual = values(backend, c);
      // Each of k products and two sums rounds by F32 of magnitudes of at most k + 2; the result
      // rounds to its storage type.
      double bound = (k + 3) * F32 * (k + 2);
      for (int i = 0; i < expected.length; i++) {
        double storage = result == DType.BF16 ? BF16 * Math.abs(expected[i]) : 0;
        assertEquals(
            expected[i],
            actual[i],
            bound + storage,
            "%dx%dx%d %s->%s, case %d, element %d".formatted(m, n, k, operands, result, bits, i));
      }
    }
  }

  private static Tensor matrix(
      CudaBackend backend, Slab slab, Random random, DType dtype, int rows, int columns, int gap) {
    Tensor wide = slab.allocate("matrix", dtype, rows, columns + gap);
    fill(backend, wide, random);
    return gap == 0 ? wide : wide.columns("matrix", 1, columns);
  }

  private static Tensor vector(
      CudaBackend backend, Slab slab, Random random, DType dtype, int count) {
    Tensor vector = slab.allocate("bias", dtype, count);
    fill(backend, vector, random);
    return vector;
  }

  /** Uniform in (-1, 1), as the type stores it. */
  private static void fill(CudaBackend backend, Tensor tensor, Random random) {
    int count = Math.toIntExact(tensor.elementCount());
    if (tensor.dtype() == DType.F32) {
      float[] values = new float[count];
      for (int i = 0; i < count; i++) {
        values[i] = 2 * random.nextFloat() - 1;
      }
      backend.upload(tensor, values);
    } else {
      short[] values = new short[count];
      for (int i = 0; i < count; i++) {
        values[i] = (short) (Float.floatToRawIntBits(2 * random.nextFloat() - 1) >>> 16);
      }
      backend.upload(tensor, MemorySegment.ofArray(values));
    }
  }

  /** The elements, row by row without gaps. */
  private static double[] values(CudaBackend backend, Tensor tensor) {
    double[] values = new double[Math.toIntExact(tensor.elementCount())];
    int columns = Math.toIntExact(tensor.dim(tensor.rank() - 1));
    int rows = values.length / columns;
    for (int row = 0; row < rows; row++) {
      Tensor one = tensor.rank() == 1 ? tensor : tensor.rows(row, 1);
      float[] elements = backend.downloadF32(one);
      for (int i = 0; i < columns; i++) {
        values[row * columns + i] = elements[i];
      }
    }
    return values;
  }

  @Test
  void choicesAreKeptAndTakenAgain() throws IOException {
    CudaOptions options = PLAIN.withCacheFolder(temp.resolve("cache/gatun"));
    float[] first = product(options);
    List<Path> files;
    try (Stream<Path> folder = Files.list(temp.resolve("cache/gatun"))) {
      files = folder.toList();
    }
    assertEquals(1, files.size());
    List<String> lines = Files.readAllLines(files.getFirst());
    assertEquals(2, lines.size(), lines::toString);
    assertArrayEquals(first, product(options));
    assertEquals(lines, Files.readAllLines(files.getFirst()));
  }

  @Test
  void withoutTimingTheFirstProposalIsTakenAndNothingKept() {
    CudaOptions options = PLAIN.withMatmulChoice(MatmulChoice.FIRST).withCacheFolder(temp);
    assertArrayEquals(product(options), product(options));
    try (Stream<Path> folder = Files.list(temp)) {
      for (Path file : folder.toList()) {
        assertEquals(1, Files.readAllLines(file).size());
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static float[] product(CudaOptions options) {
    Random random = new Random(3);
    try (CudaBackend backend = CudaBackend.create(options);
        Slab slab = new Slab(backend.allocate("slab", 1 << 20))) {
      Tensor a = matrix(backend, slab, random, DType.F32, 65, 257, 0);
      Tensor b = matrix(backend, slab, random, DType.F32, 257, 33, 0);
      Tensor c = slab.allocate("c", DType.F32, 65, 33);
      backend.matmul(c, a, Transpose.NO, b, Transpose.NO, null, Accumulate.OVERWRITE);
      assertEquals(List.of(), backend.notes());
      return backend.downloadF32(c);
    }
  }

  @Test
  void aFailureNamesTheFunctionAndTheError() {
    NativeException e =
        assertThrows(NativeException.class, () -> CudaStatus.check("cudaMalloc", 2));
    assertTrue(
        e.getMessage().startsWith("cudaMalloc: cudaErrorMemoryAllocation (2): "), e.getMessage());
    assertEquals(-1, e.getMessage().indexOf("--debug_sync"), e.getMessage());
  }

  @Test
  void rangesAndProfilerAreCalls() {
    try (CudaBackend backend = CudaBackend.create(PLAIN)) {
      backend.startProfiler();
      try (Backend.Range _ = backend.range("step");
          Backend.Range _ = backend.range("forward")) {
        backend.synchronize();
      }
      backend.stopProfiler();
    }
  }
}
