package dev.gatun.hf;

import dev.gatun.memory.GatunException;
import dev.gatun.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A tensor as a safetensors file holds it, or shall hold it: little-endian, row-major, without
 * gaps. The memory belongs to whoever made the segment. In a file that was opened it is read-only,
 * and nothing says that its address is a multiple of the element size. A tensor to be stored may
 * lie elsewhere than in host memory, whence {@link Blocks} fetches it in parts.
 */
public final class StoredTensor {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** The bytes of a tensor, wherever they lie. */
  @FunctionalInterface
  public interface Blocks {
    /** Some of them in host memory, valid until the next call. */
    ByteBuffer block(long offsetBytes, long sizeBytes);
  }

  private final String name;
  private final ElementType type;
  private final long[] shape;
  private final long sizeBytes;
  private final @Nullable MemorySegment data; // null: not in host memory
  private final Blocks blocks;

  /**
   * Describes a tensor.
   *
   * @param data exactly the bytes of the tensor, native or on a {@code byte[]}
   * @throws IllegalArgumentException if {@code data} is not as long as type and shape say
   */
  public StoredTensor(String name, ElementType type, long[] shape, MemorySegment data) {
    this.name = Objects.requireNonNull(name);
    this.type = type;
    this.shape = shape.clone();
    this.data = data;
    this.blocks = (offset, size) -> data.asSlice(offset, size).asByteBuffer();
    this.sizeBytes = sizeBytes(type, shape);
    if (data.byteSize() != sizeBytes) {
      throw new IllegalArgumentException(
          "%s: data is %d bytes, expected %d for %s %s"
              .formatted(name, data.byteSize(), sizeBytes, type, Arrays.toString(shape)));
    }
    if (!data.isNative() && data.maxByteAlignment() > 1) {
      // A channel writes native memory and byte[], but no other array.
      throw new IllegalArgumentException(
          name + ": data is on the Java heap, expected native memory or a byte[]");
    }
  }

  /** As above, for a type of tensors in memory. */
  public StoredTensor(String name, DType dtype, long[] shape, MemorySegment data) {
    this(name, ElementType.of(dtype), shape, data);
  }

  /** Describes a tensor of a type in memory that {@code blocks} fetches when it is written. */
  public StoredTensor(String name, DType dtype, long[] shape, Blocks blocks) {
    this.name = Objects.requireNonNull(name);
    this.type = ElementType.of(dtype);
    this.shape = shape.clone();
    this.sizeBytes = sizeBytes(type, shape);
    this.data = null;
    this.blocks = blocks;
  }

  /** An f32 tensor on the Java heap. */
  public static StoredTensor ofFloats(String name, long[] shape, float... values) {
    MemorySegment data =
        MemorySegment.ofArray(new byte[Math.multiplyExact(values.length, Float.BYTES)]);
    for (int i = 0; i < values.length; i++) {
      data.setAtIndex(FLOAT, i, values[i]);
    }
    return new StoredTensor(name, ElementType.F32, shape, data);
  }

  /** The name in the file. It is foreign text: never a path. */
  public String name() {
    return name;
  }

  public ElementType type() {
    return type;
  }

  /**
   * The type in memory.
   *
   * @throws GatunException if Gatun has no such type
   */
  public DType dtype() {
    return switch (type) {
      case F32 -> DType.F32;
      case BF16 -> DType.BF16;
      case F16 -> DType.F16;
      case I32 -> DType.I32;
      case U16 -> DType.U16;
      default -> throw new GatunException(this + " is of a type that Gatun does not compute with");
    };
  }

  /** Extents, outermost first; empty for a scalar. A copy. */
  public long[] shape() {
    return shape.clone();
  }

  /** The product of the shape; 1 for a scalar. */
  public long elementCount() {
    return elementCount(shape);
  }

  public long sizeBytes() {
    return sizeBytes;
  }

  /**
   * Exactly the bytes of the tensor.
   *
   * @throws IllegalStateException if they are not in host memory
   */
  public MemorySegment data() {
    if (data == null) {
      throw new IllegalStateException(this + " is not in host memory; it can only be written");
    }
    return data;
  }

  /** As {@link #data()}, but a part of the bytes. */
  public MemorySegment data(long offsetBytes, long partBytes) {
    return data().asSlice(offsetBytes, partBytes);
  }

  /** Lets the system take back the memory of a file's bytes; who reads them again waits for it. */
  public void unload() {
    MemorySegment bytes = data();
    if (bytes.isMapped()) {
      bytes.unload();
    }
  }

  /** Some of the bytes, in host memory, valid until the next call. */
  ByteBuffer block(long offsetBytes, long blockBytes) {
    return blocks.block(offsetBytes, blockBytes);
  }

  /**
   * The values of an f32, f16 or bf16 tensor, exactly.
   *
   * @throws GatunException if the tensor is of another type
   */
  public float[] toFloats() {
    MemorySegment bytes = data();
    float[] values = new float[Math.toIntExact(elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (type) {
            case F32 -> bytes.getAtIndex(FLOAT, i);
            case BF16 -> Float.intBitsToFloat(bytes.getAtIndex(SHORT, i) << Short.SIZE);
            case F16 -> Float.float16ToFloat(bytes.getAtIndex(SHORT, i));
            default -> throw new GatunException(this + " is not one of " + ElementType.WEIGHTS);
          };
    }
    return values;
  }

  /** Name, type and shape, in one line. */
  @Override
  public String toString() {
    return "tensor %s %s %s".formatted(Shown.quoted(name), type, Arrays.toString(shape));
  }

  /**
   * Elements of a shape.
   *
   * @throws ArithmeticException if a long cannot hold the number
   */
  static long elementCount(long[] shape) {
    long count = 1;
    for (long extent : shape) {
      count = Math.multiplyExact(count, extent);
    }
    return count;
  }

  /**
   * Bytes of a tensor.
   *
   * @throws ArithmeticException if they are not a whole number, or more than a long can hold
   */
  static long sizeBytes(ElementType type, long[] shape) {
    long bits = Math.multiplyExact(elementCount(shape), (long) type.bits());
    if (bits % Byte.SIZE != 0) {
      throw new ArithmeticException(bits + " bits are not whole bytes");
    }
    return bits / Byte.SIZE;
  }
}
