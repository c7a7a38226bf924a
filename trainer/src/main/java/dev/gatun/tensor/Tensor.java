package dev.gatun.tensor;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.ReleasedException;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A named, typed, shaped window on a {@link Buffer}. It owns nothing.
 *
 * <p>Elements are row-major. Rows (of the first dimension) are each contiguous; they follow each
 * other at {@link #rowStride} elements, which is the size of a row except in a view made by {@link
 * #columns}.
 */
public final class Tensor {
  private final String name;
  private final DType dtype;
  private final long[] shape;
  private final long elementCount;
  private final long rowStride;
  private final long offsetBytes;
  private final @Nullable Buffer buffer; // null: planned only, see Slab.planner
  private final @Nullable MemorySegment span;

  /**
   * A contiguous tensor at {@code offsetBytes} of {@code buffer}.
   *
   * @throws IllegalArgumentException if a dimension is negative, the offset is not a multiple of
   *     the element size, or the tensor does not fit in the buffer
   * @throws ReleasedException if the buffer is closed
   */
  public Tensor(String name, DType dtype, long[] shape, Buffer buffer, long offsetBytes) {
    this(name, dtype, shape.clone(), rowElements(shape), buffer, offsetBytes);
  }

  private Tensor(
      String name,
      DType dtype,
      long[] shape,
      long rowStride,
      @Nullable Buffer buffer,
      long offsetBytes) {
    this.name = Objects.requireNonNull(name, "name");
    this.dtype = dtype;
    this.shape = shape;
    for (long dim : shape) {
      if (dim < 0) {
        throw new IllegalArgumentException(this + ": dimensions are never negative");
      }
    }
    this.elementCount = product(shape, 0);
    this.rowStride = rowStride;
    this.buffer = buffer;
    this.offsetBytes = offsetBytes;
    if (offsetBytes < 0 || offsetBytes % dtype.sizeBytes() != 0) {
      throw new IllegalArgumentException(
          this + ": offset is " + offsetBytes + " bytes, expected a multiple of the element size");
    }
    if (buffer == null) {
      this.span = null;
      return;
    }
    long spanBytes = spanBytes();
    if (spanBytes > buffer.sizeBytes() - offsetBytes) {
      throw new IllegalArgumentException(
          this
              + ": "
              + spanBytes
              + " bytes at offset "
              + offsetBytes
              + " do not fit in "
              + buffer.name()
              + ", which has "
              + buffer.sizeBytes()
              + " bytes");
    }
    this.span = buffer.segment(offsetBytes, spanBytes);
  }

  /** A tensor without memory, for {@link Slab#planner}. */
  static Tensor planned(String name, DType dtype, long[] shape, long offsetBytes) {
    return new Tensor(name, dtype, shape.clone(), rowElements(shape), null, offsetBytes);
  }

  /** What it holds, for messages. */
  public String name() {
    return name;
  }

  /** How an element is stored. */
  public DType dtype() {
    return dtype;
  }

  /** Number of dimensions. */
  public int rank() {
    return shape.length;
  }

  /** Size of dimension {@code i}. */
  public long dim(int i) {
    return shape[i];
  }

  /** A copy of the dimensions. */
  public long[] shape() {
    return shape.clone();
  }

  /** Whether the dimensions are exactly {@code expected}. */
  public boolean hasShape(long... expected) {
    return Arrays.equals(shape, expected);
  }

  /** Product of the dimensions. */
  public long elementCount() {
    return elementCount;
  }

  /** Bytes of the elements, gaps between rows not counted. */
  public long sizeBytes() {
    return Math.multiplyExact(elementCount, (long) dtype.sizeBytes());
  }

  /** Elements between the starts of consecutive rows of the first dimension. */
  public long rowStride() {
    return rowStride;
  }

  /** Whether no gaps lie between the rows. */
  public boolean isContiguous() {
    return shape.length == 0 || shape[0] <= 1 || rowStride == rowElements(shape);
  }

  /**
   * The memory from the first element to the last: {@link #sizeBytes} bytes if contiguous, with the
   * gaps between rows if not. On a device: its address, with the length zero.
   *
   * @throws ReleasedException if the buffer is closed
   * @throws IllegalStateException if the tensor was only planned
   */
  public MemorySegment address() {
    if (buffer == null || span == null) {
      throw new IllegalStateException(this + ": planned only, has no memory");
    }
    if (!buffer.isOpen()) {
      throw new ReleasedException(name + " in " + buffer.name());
    }
    return span;
  }

  /**
   * A contiguous tensor over a part of this one.
   *
   * @param offsetElements where it begins
   * @throws IllegalArgumentException if this tensor is not contiguous, or the part does not fit
   */
  public Tensor view(String name, long offsetElements, long... shape) {
    if (!isContiguous()) {
      throw new IllegalArgumentException(this + ": has gaps between rows, expected contiguous");
    }
    Tensor view = at(name, offsetElements, shape.clone(), rowElements(shape));
    requireInside(view, offsetElements, view.elementCount);
    return view;
  }

  /**
   * A strided view of a matrix {@code [rows, width]}: from column {@code firstColumn}, each row is
   * seen as {@code trailingShape}, e.g. {@code qkv.columns("q", 0, heads, headDim)} is {@code
   * [tokens, heads, headDim]}.
   *
   * @throws IllegalArgumentException if this is not a matrix, or the columns do not fit
   */
  public Tensor columns(String name, long firstColumn, long... trailingShape) {
    if (shape.length != 2) {
      throw new IllegalArgumentException(this + ": columns of rank " + rank() + ", expected 2");
    }
    long[] viewShape = new long[trailingShape.length + 1];
    viewShape[0] = shape[0];
    System.arraycopy(trailingShape, 0, viewShape, 1, trailingShape.length);
    long width = product(trailingShape, 0);
    if (firstColumn < 0 || width > shape[1] - firstColumn) {
      throw new IllegalArgumentException(
          this + ": has no " + width + " columns from " + firstColumn + " on for " + name);
    }
    return at(name, firstColumn, viewShape, rowStride);
  }

  /**
   * This tensor as a matrix: all dimensions behind the first become one. Rows stay where they are.
   */
  public Tensor matrix() {
    if (shape.length == 2) {
      return this;
    }
    long rows = shape.length == 0 ? 1 : shape[0];
    return at(name, 0, new long[] {rows, rowElements(shape)}, rowStride);
  }

  /**
   * The same memory seen as another type and shape of at most as many bytes.
   *
   * @throws IllegalArgumentException if this tensor is not contiguous, or is too small
   */
  public Tensor reinterpret(String name, DType dtype, long... shape) {
    if (!isContiguous()) {
      throw new IllegalArgumentException(this + ": has gaps between rows, expected contiguous");
    }
    Tensor view = new Tensor(name, dtype, shape.clone(), rowElements(shape), buffer, offsetBytes);
    if (view.sizeBytes() > sizeBytes()) {
      throw new IllegalArgumentException(
          view + ": does not fit in " + this + ", which has " + sizeBytes() + " bytes");
    }
    return view;
  }

  /**
   * Rows {@code [first, first + count)} of the first dimension.
   *
   * @throws IllegalArgumentException if there are not so many
   */
  public Tensor rows(long first, long count) {
    if (shape.length == 0 || first < 0 || count < 0 || count > shape[0] - first) {
      throw new IllegalArgumentException(
          this + ": has no " + count + " rows from row " + first + " on");
    }
    long[] viewShape = shape.clone();
    viewShape[0] = count;
    // Zero rows may begin at the end, where a strided tensor's memory has already stopped.
    return at(name, count == 0 ? 0 : Math.multiplyExact(first, rowStride), viewShape, rowStride);
  }

  /** The name, shape and type: {@code x [128, 4096] bf16}. */
  @Override
  public String toString() {
    return name + " " + Arrays.toString(shape) + " " + dtype;
  }

  private Tensor at(String viewName, long offsetElements, long[] viewShape, long viewRowStride) {
    long offset = Math.multiplyExact(offsetElements, (long) dtype.sizeBytes());
    return new Tensor(
        viewName, dtype, viewShape, viewRowStride, buffer, Math.addExact(offsetBytes, offset));
  }

  private void requireInside(Tensor view, long offsetElements, long count) {
    if (offsetElements < 0 || count > elementCount - offsetElements) {
      throw new IllegalArgumentException(
          view + ": does not fit in " + this + " from element " + offsetElements + " on");
    }
  }

  private long spanBytes() {
    if (elementCount == 0) {
      return 0;
    }
    long rows = shape.length == 0 ? 1 : shape[0];
    long elements = Math.addExact(Math.multiplyExact(rows - 1, rowStride), rowElements(shape));
    return Math.multiplyExact(elements, (long) dtype.sizeBytes());
  }

  private static long rowElements(long[] shape) {
    return product(shape, 1);
  }

  private static long product(long[] dims, int from) {
    long product = 1;
    for (int i = from; i < dims.length; i++) {
      product = Math.multiplyExact(product, dims[i]);
    }
    return product;
  }
}
