package dev.gatun.selftest;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Buffer;
import dev.gatun.op.reference.Elements;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * A backend with tensors to test ops on, and the comparison of what they hold with what they
 * should. Every tensor has canaries before, behind and between its rows. Tensors hold random values
 * or, as outputs, NaN, so that what a kernel forgets to write does not pass.
 */
public class Workbench implements AutoCloseable {
  /** Unit roundoff of f32. */
  public static final double F32_ROUNDOFF = 0x1p-24;

  private static final int MARGIN_BYTES = 128;
  private static final byte POISON = (byte) 0xFF; // NaN in f32 and bf16; -1 in i32.

  private final Backend backend;
  private final DType dtype;
  private final long seed;
  private final Judge judge;
  private final Buffer buffer;
  private final IdentityHashMap<Tensor, Block> blocks = new IdentityHashMap<>();
  private final List<Block> inOrder = new ArrayList<>();
  private Random random;
  private String row = "";
  private long usedBytes;

  /** Memory of one tensor: margins, rows, gaps. */
  private static final class Block {
    final Tensor tensor;
    final Tensor bytes;
    final long firstByte;
    final long rowBytes;
    final long strideBytes;

    /** Row of the kernel table under which it was made or, later, compared. */
    String row;

    boolean damageTold;

    Block(
        Tensor tensor, Tensor bytes, long firstByte, long rowBytes, long strideBytes, String row) {
      this.tensor = tensor;
      this.bytes = bytes;
      this.firstByte = firstByte;
      this.rowBytes = rowBytes;
      this.strideBytes = strideBytes;
      this.row = row;
    }

    boolean isInside(long at) {
      long inTensor = at - firstByte;
      return inTensor >= 0
          && at < bytes.sizeBytes() - MARGIN_BYTES
          && inTensor % strideBytes < rowBytes;
    }
  }

  /**
   * What a tensor holds, margins included.
   *
   * @param row of the kernel table, that wrote it last
   */
  public record Bits(String row, String tensor, byte[] bytes) {}

  /**
   * A workbench that takes {@code capacityBytes} of the backend's memory.
   *
   * @param dtype storage type of the contracts that run on it
   */
  public Workbench(Backend backend, DType dtype, long capacityBytes, long seed, Judge judge) {
    this.backend = backend;
    this.dtype = dtype;
    this.seed = seed;
    this.judge = judge;
    this.random = new Random(seed);
    backend.reserveWorkspace(1 << 14, 1 << 14);
    this.buffer = backend.allocate("tensors of a test", capacityBytes);
  }

  public final Backend backend() {
    return backend;
  }

  /** The storage type that is tested. */
  public final DType dtype() {
    return dtype;
  }

  public final Random random() {
    return random;
  }

  /**
   * Says which row of the kernel table (or {@code matmul}, {@code copy}, {@code zero}) runs next:
   * it is blamed for what is found until the next call.
   */
  public final void runs(String name) {
    row = name;
  }

  /** The row that was named last. */
  final String row() {
    return row;
  }

  /** Unit roundoff of a storage type: the largest relative error of rounding to nearest. */
  public static double roundoff(DType dtype) {
    return switch (dtype) {
      case F32 -> F32_ROUNDOFF;
      case BF16 -> 0x1p-8;
      case F16 -> 0x1p-11;
      case I32, U16, U8 -> throw new IllegalArgumentException(dtype + " does not round");
    };
  }

  /** A tensor of standard normal values, rounded to its type. */
  public final Tensor normal(String name, DType type, long... shape) {
    return given(name, type, normals(count(shape)), shape);
  }

  public final double[] normals(int count) {
    return IntStream.range(0, count).mapToDouble(_ -> random.nextGaussian()).toArray();
  }

  /** A tensor of these values, rounded to its type; {@link #values} tells what is stored. */
  public final Tensor given(String name, DType type, double[] values, long... shape) {
    Tensor tensor = output(name, type, shape);
    set(tensor, values);
    return tensor;
  }

  public final Tensor given(String name, int... values) {
    return given(name, DType.I32, Arrays.stream(values).asDoubleStream().toArray(), values.length);
  }

  /** A tensor of NaN. */
  public final Tensor output(String name, DType type, long... shape) {
    return strided(name, type, 0, 0, shape);
  }

  /** A tensor of NaN, with gaps of so many elements before and behind each row. */
  public final Tensor strided(String name, DType type, long before, long behind, long... shape) {
    long rows = shape.length == 0 ? 1 : shape[0];
    long[] trailing = shape.length == 0 ? shape : Arrays.copyOfRange(shape, 1, shape.length);
    long rowElements = count(trailing);
    long width = before + rowElements + behind;
    int size = type.sizeBytes();
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
    Tensor parent = new Tensor(name, type, new long[] {rows, width}, buffer, begin);
    boolean contiguous = before == 0 && behind == 0;
    Tensor tensor =
        contiguous
            ? new Tensor(name, type, shape, buffer, begin)
            : parent.columns(name, before, trailing);
    Block block =
        new Block(
            tensor,
            bytes,
            MARGIN_BYTES + before * size,
            contiguous ? Math.max(1, contentBytes) : rowElements * size,
            contiguous ? Math.max(1, contentBytes) : width * size,
            row);
    blocks.put(tensor, block);
    inOrder.add(block);
    return tensor;
  }

  /** A strided tensor of standard normal values. */
  public final Tensor stridedNormal(
      String name, DType type, long before, long behind, long... shape) {
    Tensor tensor = strided(name, type, before, behind, shape);
    set(tensor, normals(count(shape)));
    return tensor;
  }

  /** Overwrites a tensor. */
  public final void set(Tensor tensor, double[] values) {
    Block block = block(tensor);
    MemorySegment host = MemorySegment.ofArray(bytes(block));
    for (int i = 0; i < values.length; i++) {
      Elements.put(host, byteOf(tensor, block, i), tensor.dtype(), values[i]);
    }
    backend.upload(block.bytes, host);
  }

  /** What a tensor holds. */
  public final double[] values(Tensor tensor) {
    Block block = block(tensor);
    byte[] bytes = bytes(block);
    MemorySegment host = MemorySegment.ofArray(bytes);
    double[] values = new double[Math.toIntExact(tensor.elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] = Elements.get(host, byteOf(tensor, block, i), tensor.dtype());
    }
    checkCanaries(block, bytes, row);
    return values;
  }

  /**
   * Requires {@code |actual - expected| <= roundoff(storage) |expected| + roundings * roundoff(f32)
   * * magnitude}: one rounding to the storage type, and a chain of so many f32 operations on
   * numbers of at most {@code magnitude}.
   */
  public final void assertClose(
      Tensor actual, double[] expected, double roundings, double magnitude) {
    double[] magnitudes = new double[expected.length];
    Arrays.fill(magnitudes, magnitude);
    assertClose(actual, expected, roundings, magnitudes);
  }

  /** As above, with a magnitude for each element. */
  public final void assertClose(
      Tensor actual, double[] expected, double roundings, double[] magnitudes) {
    double[] bounds = new double[expected.length];
    for (int i = 0; i < bounds.length; i++) {
      bounds[i] =
          roundoff(actual.dtype()) * Math.abs(expected[i])
              + roundings * F32_ROUNDOFF * magnitudes[i]
              + Float.MIN_NORMAL;
    }
    compare(actual, expected, bounds);
  }

  /** Requires exactly these values. */
  public final void assertExact(Tensor actual, double[] expected) {
    compare(actual, expected, new double[expected.length]);
  }

  /** Requires values within these distances. */
  public final void assertWithin(Tensor actual, double[] expected, double[] bounds) {
    compare(actual, expected, bounds);
  }

  private void compare(Tensor actual, double[] expected, double[] bounds) {
    double[] values = values(actual);
    block(actual).row = row;
    if (values.length != expected.length) {
      throw new IllegalArgumentException(
          "%s has %d elements, expected %d".formatted(actual, values.length, expected.length));
    }
    int worst = -1;
    double worstFraction = 0;
    for (int i = 0; i < values.length; i++) {
      double fraction =
          bounds[i] == 0
              ? (Double.compare(values[i], expected[i]) == 0 ? 0 : Double.POSITIVE_INFINITY)
              : Math.abs(values[i] - expected[i]) / bounds[i];
      if (worst < 0 || !(fraction <= worstFraction)) {
        worst = i;
        worstFraction = Double.isNaN(fraction) ? Double.POSITIVE_INFINITY : fraction;
      }
    }
    judge.compared(row, worstFraction);
    if (worstFraction > 1) {
      judge.failed(
          row,
          "%s[%d] is %s, expected %s%s (seed %d)"
              .formatted(
                  actual,
                  worst,
                  values[worst],
                  expected[worst],
                  bounds[worst] == 0 ? "" : " +- " + bounds[worst],
                  seed));
    }
  }

  /** Largest absolute value. */
  public static double largest(double[] values) {
    return Arrays.stream(values).map(Math::abs).max().orElse(0);
  }

  /** Everything that the tensors hold, in the order in which they were made. */
  public final List<Bits> bits() {
    return inOrder.stream()
        .map(block -> new Bits(block.row, block.tensor.toString(), bytes(block)))
        .toList();
  }

  /** Checks all canaries, forgets all tensors, and begins the random numbers again. */
  final void clear() {
    checkCanaries();
    blocks.clear();
    inOrder.clear();
    usedBytes = 0;
    random = new Random(seed);
    row = "";
  }

  /** Checks all canaries, and frees the memory. The backend stays open. */
  @Override
  public void close() {
    try {
      checkCanaries();
    } finally {
      buffer.close();
    }
  }

  private void checkCanaries() {
    for (Block block : inOrder) {
      checkCanaries(block, bytes(block), row.isEmpty() ? block.row : row);
    }
  }

  private void checkCanaries(Block block, byte[] now, String blamed) {
    for (int i = 0; i < now.length && !block.damageTold; i++) {
      if (now[i] != POISON && !block.isInside(i)) {
        block.damageTold = true;
        judge.failed(
            blamed,
            "byte %d outside %s was written (seed %d)"
                .formatted(i - block.firstByte, block.tensor, seed));
      }
    }
  }

  private Block block(Tensor tensor) {
    Block block = blocks.get(tensor);
    if (block == null) {
      throw new IllegalArgumentException(tensor + " is not a tensor of this workbench");
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
