package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * All that cuBLASLt's choice of an algorithm may depend on. Row-major, as {@link Backend#matmul}
 * has it.
 *
 * @param alignedA bytes that the address of an operand is a multiple of, as far as every tensor of
 *     a slab may be; of the bias nothing is required
 */
record MatmulProblem(
    MatmulShape shape,
    Transpose transposeA,
    Transpose transposeB,
    DType operands,
    DType result,
    long strideA,
    long strideB,
    long strideC,
    int alignedA,
    int alignedB,
    int alignedC,
    boolean biased,
    Accumulate accumulate,
    boolean tf32) {
  /**
   * What every tensor of a slab has. More would be luck of its place, and two passes over the same
   * batch, the policy's and the reference's, would take different algorithms, whose sums differ.
   */
  private static final long MAX_ALIGNMENT_BYTES = Buffer.ALIGNMENT_BYTES;

  static MatmulProblem of(
      MatmulShape shape,
      Tensor c,
      Tensor a,
      Transpose transposeA,
      Tensor b,
      Transpose transposeB,
      @Nullable Tensor bias,
      Accumulate accumulate,
      boolean tf32) {
    return new MatmulProblem(
        shape,
        transposeA,
        transposeB,
        a.dtype(),
        c.dtype(),
        a.rowStride(),
        b.rowStride(),
        c.rowStride(),
        alignment(a),
        alignment(b),
        alignment(c),
        bias != null,
        accumulate,
        tf32 && a.dtype() == DType.F32);
  }

  private static int alignment(Tensor tensor) {
    long address = tensor.address().address();
    return (int) Math.min(MAX_ALIGNMENT_BYTES, Long.lowestOneBit(address | MAX_ALIGNMENT_BYTES));
  }

  /**
   * A name for this and similar problems: extents are rounded up to eight sizes an octave, since
   * the number of tokens differs from batch to batch and what is best does not.
   */
  String kind() {
    return "m%d n%d k%d %s%s %s->%s ld%d,%d,%d al%d,%d,%d%s%s%s"
        .formatted(
            rounded(shape.m()),
            rounded(shape.n()),
            rounded(shape.k()),
            letter(transposeA),
            letter(transposeB),
            operands,
            result,
            strideA,
            strideB,
            strideC,
            alignedA,
            alignedB,
            alignedC,
            biased ? " bias" : "",
            accumulate == Accumulate.ADD ? " add" : "",
            tf32 ? " tf32" : "");
  }

  private static char letter(Transpose transpose) {
    return transpose == Transpose.YES ? 't' : 'n';
  }

  /** The next multiple of an eighth of the power of two below; small numbers stay. */
  static long rounded(long extent) {
    long step = Long.highestOneBit(Math.max(1, extent)) / 8;
    return step <= 1 ? extent : Math.ceilDiv(extent, step) * step;
  }
}
