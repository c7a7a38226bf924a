package dev.gatun.op.reference;

import dev.gatun.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Reads and writes single elements; rounds to nearest, ties to even. */
public final class Elements {
  private Elements() {}

  /** The element that begins at byte {@code at}. */
  public static double get(MemorySegment memory, long at, DType dtype) {
    return switch (dtype) {
      case F32 -> memory.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at);
      case BF16 -> Float.intBitsToFloat(memory.get(ValueLayout.JAVA_SHORT_UNALIGNED, at) << 16);
      case F16 -> Float.float16ToFloat(memory.get(ValueLayout.JAVA_SHORT_UNALIGNED, at));
      case I32 -> memory.get(ValueLayout.JAVA_INT_UNALIGNED, at);
      case U16 -> Short.toUnsignedInt(memory.get(ValueLayout.JAVA_SHORT_UNALIGNED, at));
      case U8 -> Byte.toUnsignedInt(memory.get(ValueLayout.JAVA_BYTE, at));
    };
  }

  /** Writes a value, rounded to the type. */
  public static void put(MemorySegment memory, long at, DType dtype, double value) {
    switch (dtype) {
      case F32 -> memory.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, (float) value);
      case BF16 -> memory.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, bf16((float) value));
      case F16 ->
          memory.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, Float.floatToFloat16((float) value));
      case I32 -> memory.set(ValueLayout.JAVA_INT_UNALIGNED, at, (int) value);
      case U16 -> memory.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, (short) (int) value);
      case U8 -> memory.set(ValueLayout.JAVA_BYTE, at, (byte) (int) value);
    }
  }

  /** The value of a floating-point type that is nearest, ties to even. */
  public static double round(double value, DType dtype) {
    return switch (dtype) {
      case F32 -> (float) value;
      case BF16 -> Float.intBitsToFloat(bf16((float) value) << 16);
      case F16 -> Float.float16ToFloat(Float.floatToFloat16((float) value));
      case I32, U16, U8 -> throw new IllegalArgumentException(dtype + " does not round");
    };
  }

  private static short bf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >> 16) | 0x40);
    }
    int even = (bits >> 16) & 1;
    return (short) ((bits + 0x7FFF + even) >> 16);
  }
}
