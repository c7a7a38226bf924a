package dev.gatun.op;

/** Dimensions worth a test: 1, primes, and the widths of vector registers in f32, and one off. */
final class Sizes {
  /** Lengths of rows. */
  static final int[] ROW = {1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 61, 64, 127, 257};

  /** Numbers of rows. */
  static final int[] ROWS = {1, 2, 3, 17};

  private Sizes() {}
}
