package dev.gatun.tensor;

import java.util.Locale;

/** How an element is stored. */
public enum DType {
  /** IEEE 754 binary32. */
  F32(4, 0),
  /** The upper half of a binary32. */
  BF16(2, 1),
  /** IEEE 754 binary16; only as a source or destination of a cast. */
  F16(2, 2),
  /** Signed 32-bit integers: token ids, positions, row numbers. Not a type of arithmetic. */
  I32(4, -1),
  /** 16 bits without a meaning of their own: the remainders of bf16 master weights. */
  U16(2, -1),
  /** Codes of 8 bits: moments of an optimizer. */
  U8(1, -1);

  private final int sizeBytes;
  private final int code;

  DType(int sizeBytes, int code) {
    this.sizeBytes = sizeBytes;
    this.code = code;
  }

  /** Bytes of one element. */
  public int sizeBytes() {
    return sizeBytes;
  }

  /**
   * The value of {@code enum gatun_dtype} (gatun_kernels.h).
   *
   * @throws IllegalStateException for a type that kernels have no code for
   */
  public int code() {
    if (code < 0) {
      throw new IllegalStateException(this + " is not a type of kernel arithmetic");
    }
    return code;
  }

  /** The name as messages print it: {@code f32}, {@code bf16}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
