package dev.gatun.hf;

import dev.gatun.tensor.DType;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An element type of safetensors 0.8. The order is that of its {@code Dtype}, by which its writer
 * sorts tensors, last first.
 */
public enum ElementType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  /** The types that weights are loaded from. */
  static final Set<ElementType> WEIGHTS = EnumSet.of(F32, F16, BF16);

  private final int bits;

  ElementType(int bits) {
    this.bits = bits;
  }

  /** Bits of one element; the types of fewer than 8 are packed. */
  public int bits() {
    return bits;
  }

  /** The stored type of a tensor in memory. */
  public static ElementType of(DType dtype) {
    return valueOf(dtype.name());
  }

  static @Nullable ElementType named(String name) {
    for (ElementType type : values()) {
      if (type.name().equals(name)) {
        return type;
      }
    }
    return null;
  }
}
