package dev.gatun.backend;

import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** The extents of {@code c [m, n] = op(a) [m, k] op(b) [k, n] + bias [n]}. */
record MatmulShape(long m, long n, long k) {
  /**
   * Checks that the operands of a product fit together.
   *
   * @throws IllegalArgumentException if they do not
   */
  static MatmulShape of(
      Tensor c,
      Tensor a,
      Transpose transposeA,
      Tensor b,
      Transpose transposeB,
      @Nullable Tensor bias) {
    for (Tensor operand : new Tensor[] {c, a, b}) {
      if (operand.rank() != 2) {
        throw new IllegalArgumentException(
            "matmul: %s has rank %d, expected 2".formatted(operand, operand.rank()));
      }
    }
    long m = c.dim(0);
    long n = c.dim(1);
    boolean swapA = transposeA == Transpose.YES;
    boolean swapB = transposeB == Transpose.YES;
    long k = a.dim(swapA ? 0 : 1);
    boolean typesFit =
        a.dtype() == b.dtype()
            && (c.dtype() == a.dtype() || c.dtype() == DType.F32)
            && (a.dtype() == DType.F32 || a.dtype() == DType.BF16)
            && (bias == null || bias.dtype() == a.dtype());
    boolean shapesFit =
        a.dim(swapA ? 1 : 0) == m
            && b.dim(swapB ? 1 : 0) == k
            && b.dim(swapB ? 0 : 1) == n
            && (bias == null || bias.hasShape(n));
    if (!typesFit || !shapesFit) {
      throw new IllegalArgumentException(
          "matmul: %s%s, %s%s, %s and bias %s do not fit"
              .formatted(a, swapA ? "^T" : "", b, swapB ? "^T" : "", c, bias));
    }
    return new MatmulShape(m, n, k);
  }
}
