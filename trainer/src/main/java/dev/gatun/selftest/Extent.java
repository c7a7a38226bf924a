package dev.gatun.selftest;

/** How many sizes a self-test tries. Every row of the kernel table runs in either. */
public enum Extent {
  /** One, odd sizes, vector widths and one off, one large. */
  FULL,
  /** A few small ones. */
  QUICK;

  /** Lengths of rows: 1, primes, widths of vectors and one off, one that takes many blocks. */
  int[] widths() {
    return this == QUICK
        ? new int[] {1, 7, 16, 33}
        : new int[] {
          1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257, 1027, 4099
        };
  }

  /** Numbers of rows that go with a width. */
  int[] rows(int width) {
    return this == QUICK ? new int[] {3} : width > 512 ? new int[] {37} : new int[] {1, 17};
  }

  /** Numbers of elements for ops that see no rows. */
  int[] counts() {
    return this == QUICK
        ? new int[] {1, 17}
        : new int[] {1, 3, 7, 8, 9, 15, 16, 17, 33, 255, 256, 257, 4097, 100_003};
  }
}
