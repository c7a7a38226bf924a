package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Allocations;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * A backend with tensors to test on. Every tensor has canaries before, behind and between its rows,
 * which {@link #close} checks, as it does that nothing stays allocated. Tensors hold random values
 * or, as outputs, NaN, so that what a kernel forgets to write does not pass.
 */
final class TestDevice implements AutoCloseable {
  /** Override with {@code -Dgatun.test.seed=...}. */
  private static final long SEED = Long.getLong("gatun.test.seed", 20261121);

  /** Unit roundoff of f32. */
  static final double F32_ROUNDOFF = 0x1p-24;

  private static final long CAPACITY_BYTES = 256L << 20;
  private static final int MARGIN_BYTES = 128;
  private static final byte POISON = (byte) 0xFF; // NaN in f32 and bf16; -1 in i32.

  private final BackendCase backendCase;
  private final Backend backend;
  private final Random random = new Random(SEED);
  private final List<Allocations.Allocation> liveBefore = Allocations.live();
  private final IdentityHashMap<Tensor, Block> blocks = new IdentityHashMap<>();

  private final Buffer buffer;
  private long usedBytes;

  /** Memory of one tensor: margins, rows, gaps. */
  private record Block(int number, Tensor bytes, long firstByte, long rowBytes, long strideBytes) {
    boolean isInside(long at) {
      long inTensor = at - firstByte;
      return inTensor >= 0
          && at < bytes.sizeBytes() - MARGIN_BYTES
          && inTensor % strideBytes < rowBytes;
    }
  }

  private TestDevice(BackendCase backendCase, int threads) {
    this.backendCase = backendCase;
    Allocations.track(true);
    this.backend = backendCase.open(threads);
    backend.reserveWorkspace(1 << 14, 1 << 14);
    this.buffer = backend.allocate("tensors of a test", CAPACITY_BYTES);
  }

  /** A device with two threads. */
  static TestDevice open(BackendCase backendCase) {
    return new TestDevice(backendCase, 2);
  }

  /** Runs a body with 1 and with 3 threads, and requires the same bits of all tensors after it. */
  static void sameBitsWhateverTheThreads(BackendCase backendCase, Consumer<TestDevice> body) {
    byte[] serial = bitsAfter(backendCase, 1, body);
    byte[] parallel = bitsAfter(backendCase, 3, body);
    int at = Arrays.mismatch(serial, parallel);
    assertEquals(-1, at, () -> "results differ between 1 and 3 threads from byte " + at + " on");
  }

  private static byte[] bitsAfter(BackendCase backendCase, int threads, Consumer<TestDevice> body) {
    try (TestDevice device = new TestDevice(backendCase, threads)) {
      body.accept(device);
      ByteArrayOutputStream bits = new ByteArrayOutputStream();
      device.blocks.values().stream()
          .sorted(Comparator.comparingInt(Block::number))
          .forEach(block -> bits.writeBytes(device.bytes(block)));
      return bits.toByteArray();
    }
  }

  Backend backend() {
    return backend;
  }

  /** The storage type of this case. */
  DType dtype() {
    return backendCase.dtype();
  }

  Random random() {
    return random;
  }

  /** Unit roundoff of a storage type: the largest relative error of rounding to nearest. */
  static double roundoff(DType dtype) {
    return switch (dtype) {
      case F32 -> F32_ROUNDOFF;
      case BF16 -> 0x1p-8;
      case F16 -> 0x1p-11;
      case I32, U16 -> throw new IllegalArgumentException(dtype + " does not round");
    };
  }

  /** A tensor of standard normal values, rounded to its type. */
  Tensor normal(String name, DType dtype, long... shape) {
    return given(name, dtype, normals(count(shape)), shape);
  }

  double[] normals(int count) {
    return IntStream.range(0, count).mapToDouble(_ -> random.nextGaussian()).toArray();
  }

  /** A tensor of these values, rounded to its type; {@link #values} tells what is stored. */
  Tensor given(String name, DType dtype, double[] values, long... shape) {
    Tensor tensor = output(name, dtype, shape);
    set(tensor, values);
    return tensor;
  }

  Tensor given(String name, int... values) {
    return given(name, DType.I32, Arrays.stream(values).asDoubleStream().toArray(), values.length);
  }

  /** A tensor of NaN. */
  Tensor output(String name, DType dtype, long... shape) {
    return strided(name, dtype, 0, 0, shape);
  }

  /** A tensor of NaN, with gaps of so many elements before and behind each row. */
  Tensor strided(String name, DType dtype, long before, long behind, long... shape) {
    long rows = shape.length == 0 ? 1 : shape[0];
    long[] trailing = shape.length == 0 ? shape : Arrays.copyOfRange(shape, 1, shape.length);
    long rowElements = count(trailing);
    long width = before + rowElements + behind;
    int size = dtype.sizeBytes();
    // Of 1-d tensors each element is a row.
    long contentBytes = rows * width * size;
    long total = 2L * MARGIN_BYTES + contentBytes;
    // All elements are whole u16, which the canaries are moved as.
    Tensor bytes = new Tensor(name, DType.U16, new long[] {total / 2}, buffer, usedBytes);
    byte[] poison = new byte[Math.toIntExact(total)];
    Arrays.fill(poison, POISON);
    backend.upload(bytes, MemorySegment.ofArray(poison));
    long begin = usedBytes + MARGIN_BYTES;
    usedBytes += (total + 63) / 64 * 64;
    Tensor parent = new Tensor(name, dtype, new long[] {rows, width}, buffer, begin);
    boolean contiguous = before == 0 && behind == 0;
    Tensor tensor =
        contiguous
            ? new Tensor(name, dtype, shape, buffer, begin)
            : parent.columns(name, before, trailing);
    blocks.put(
        tensor,
        new Block(
            blocks.size(),
            bytes,
            MARGIN_BYTES + before * size,
            contiguous ? Math.max(1, contentBytes) : rowElements * size,
            contiguous ? Math.max(1, contentBytes) : width * size));
    return tensor;
  }

  /** A strided tensor of standard normal values. */
  Tensor stridedNormal(String name, DType dtype, long before, long behind, long... shape) {
    Tensor tensor = strided(name, dtype, before, behind, shape);
    set(tensor, normals(count(shape)));
    return tensor;
  }

  /** Overwrites a tensor. */
  void set(Tensor tensor, double[] values) {
    Block block = block(tensor);
    MemorySegment host = MemorySegment.ofArray(bytes(block));
    for (int i = 0; i < values.length; i++) {
      Elements.put(host, byteOf(tensor, block, i), tensor.dtype(), values[i]);
    }
    backend.upload(block.bytes, host);
  }

  /** What a tensor holds. */
  double[] values(Tensor tensor) {
    Block block = block(tensor);
    MemorySegment host = MemorySegment.ofArray(bytes(block));
    double[] values = new double[Math.toIntExact(tensor.elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] = Elements.get(host, byteOf(tensor, block, i), tensor.dtype());
    }
    return values;
  }

  /**
   * Requires {@code |actual - expected| <= roundoff(storage) |expected| + roundings * roundoff(f32)
   * * magnitude}: one rounding to the storage type, and a chain of so many f32 operations on
   * numbers of at most {@code magnitude}.
   */
  void assertClose(Tensor actual, double[] expected, double roundings, double magnitude) {
    double[] magnitudes = new double[expected.length];
    Arrays.fill(magnitudes, magnitude);
    assertClose(actual, expected, roundings, magnitudes);
  }

  /** As above, with a magnitude for each element. */
  void assertClose(Tensor actual, double[] expected, double roundings, double[] magnitudes) {
    double[] values = values(actual);
    assertEquals(expected.length, values.length, actual::toString);
    for (int i = 0; i < values.length; i++) {
      double bound =
          roundoff(actual.dtype()) * Math.abs(expected[i])
              + roundings * F32_ROUNDOFF * magnitudes[i]
              + Float.MIN_NORMAL;
      if (!(Math.abs(values[i] - expected[i]) <= bound)) {
        fail(
            "%s: %s[%d] is %s, expected %s +- %s (seed %d)"
                .formatted(backendCase, actual, i, values[i], expected[i], bound, SEED));
      }
    }
  }

  /** Requires exactly these values. */
  void assertExact(Tensor actual, double[] expected) {
    double[] values = values(actual);
    int at = Arrays.mismatch(expected, values);
    assertTrue(
        at < 0,
        () ->
            "%s: %s[%d] is %s, expected %s (seed %d)"
                .formatted(backendCase, actual, at, values[at], expected[at], SEED));
  }

  /** Largest absolute value. */
  static double largest(double[] values) {
    return Arrays.stream(values).map(Math::abs).max().orElse(0);
  }

  /** Checks canaries and leaks. */
  @Override
  public void close() {
    for (Map.Entry<Tensor, Block> entry : blocks.entrySet()) {
      Block block = entry.getValue();
      byte[] now = bytes(block);
      for (int i = 0; i < now.length; i++) {
        if (!block.isInside(i) && now[i] != POISON) {
          fail(
              "%s: byte %d outside %s was written (seed %d)"
                  .formatted(backendCase, i - block.firstByte, entry.getKey(), SEED));
        }
      }
    }
    buffer.close();
    backend.close();
    assertEquals(liveBefore, Allocations.live(), "buffers that are still open");
  }

  private Block block(Tensor tensor) {
    Block block = blocks.get(tensor);
    if (block == null) {
      throw new IllegalArgumentException(tensor + " is not a tensor of this device");
    }
    return block;
  }

  private byte[] bytes(Block block) {
    byte[] bytes = new byte[Math.toIntExact(block.bytes.sizeBytes())];
    backend.download(MemorySegment.ofArray(bytes), block.bytes);
    return bytes;
  }

  private static long byteOf(Tensor tensor, Block block, long element) {
    long rowElements = tensor.rank() == 0 ? 1 : tensor.elementCount() / tensor.dim(0);
    long row = element / rowElements;
    long elementOffset = row * tensor.rowStride() + element % rowElements;
    return block.firstByte + elementOffset * tensor.dtype().sizeBytes();
  }

  private static int count(long[] shape) {
    return Math.toIntExact(Arrays.stream(shape).reduce(1, Math::multiplyExact));
  }
}
