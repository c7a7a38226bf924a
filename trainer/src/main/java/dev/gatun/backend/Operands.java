package dev.gatun.backend;

import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** What every backend requires of the tensors it is given, and how it reads them. */
final class Operands {
  private Operands() {}

  static void requireContiguous(String op, Tensor tensor) {
    if (!tensor.isContiguous()) {
      throw new IllegalArgumentException(
          "%s: %s has gaps between rows, expected contiguous".formatted(op, tensor));
    }
  }

  static void requireType(String op, Tensor tensor, DType dtype) {
    if (tensor.dtype() != dtype) {
      throw new IllegalArgumentException("%s: %s, expected %s".formatted(op, tensor, dtype));
    }
  }

  static void requireBytes(String op, Tensor tensor, MemorySegment host) {
    if (host.byteSize() != tensor.sizeBytes()) {
      throw new IllegalArgumentException(
          "%s: %s has %d bytes, host memory has %d"
              .formatted(op, tensor, tensor.sizeBytes(), host.byteSize()));
    }
  }

  /** Requires contiguous tensors of the same type and number of elements. */
  static void requireAlike(String op, Tensor dst, Tensor src) {
    requireContiguous(op, dst);
    requireContiguous(op, src);
    if (dst.dtype() != src.dtype() || dst.elementCount() != src.elementCount()) {
      throw new IllegalArgumentException(
          "%s: %s, expected the type and number of elements of %s".formatted(op, dst, src));
    }
  }

  /** Requires contiguous tensors of the same number of elements. */
  static void requireSameCount(String op, Tensor dst, Tensor src) {
    requireContiguous(op, dst);
    requireContiguous(op, src);
    if (dst.elementCount() != src.elementCount()) {
      throw new IllegalArgumentException(
          "%s: %s, expected the number of elements of %s".formatted(op, dst, src));
    }
  }

  /** The elements of {@code src}, whose bytes {@code bytes} are, as f32, which holds them. */
  static float[] toF32(Tensor src, MemorySegment bytes) {
    return switch (src.dtype()) {
      case F32 -> bytes.toArray(ValueLayout.JAVA_FLOAT);
      case BF16 -> {
        short[] bits = bytes.toArray(ValueLayout.JAVA_SHORT);
        float[] values = new float[bits.length];
        for (int i = 0; i < bits.length; i++) {
          values[i] = Float.intBitsToFloat(bits[i] << 16);
        }
        yield values;
      }
      case F16 -> {
        short[] bits = bytes.toArray(ValueLayout.JAVA_SHORT);
        float[] values = new float[bits.length];
        for (int i = 0; i < bits.length; i++) {
          values[i] = Float.float16ToFloat(bits[i]);
        }
        yield values;
      }
      case I32, U16, U8 ->
          throw new IllegalArgumentException(
              "download: %s, expected f32, bf16 or f16".formatted(src));
    };
  }
}
