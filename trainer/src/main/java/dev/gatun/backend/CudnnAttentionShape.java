package dev.gatun.backend;

/**
 * What a cuDNN attention plan is made for: all of it is compiled into the plan. Segments and their
 * lengths are bounds, so that one plan serves every pack within them; heads and strides are exact.
 *
 * @param segments most segments; unused ones have length 0
 * @param length most queries, and most keys, of a segment
 * @param heads query heads
 * @param kvHeads key heads, of which heads is a multiple
 * @param headDim elements of a head
 * @param qStride elements between rows of q: heads * headDim, or more inside a fused QKV row
 * @param dQStride elements between rows of dQ, likewise
 * @param gradients how dQ is summed
 */
record CudnnAttentionShape(
    int segments,
    int length,
    int heads,
    int kvHeads,
    int headDim,
    long qStride,
    long dQStride,
    Gradients gradients) {
  /** Fewest and most segments that plans are made for. */
  static final int MIN_SEGMENTS = 4;

  /** Shortest bound of lengths: a tile of cuDNN's kernels. */
  static final int MIN_LENGTH = 128;

  /** How the backward pass sums dQ over the keys. */
  enum Gradients {
    /** In a fixed order; on sm_90 it takes a workspace of 2 bytes per head, query and key. */
    DETERMINISTIC,
    /** By atomic additions, in an order that differs from run to run. */
    ATOMIC
  }

  CudnnAttentionShape {
    if (segments < 1
        || length < 1
        || kvHeads < 1
        || heads < 1
        || heads % kvHeads != 0
        || headDim < 1
        || qStride < (long) heads * headDim
        || dQStride < (long) heads * headDim) {
      throw new IllegalArgumentException(
          "cudnn attention: %d segments of %d, %d heads for %d, head size %d, strides %d and %d do"
                  .formatted(segments, length, heads, kvHeads, headDim, qStride, dQStride)
              + " not fit");
    }
  }

  /**
   * The shape for packs of {@code segments} segments of at most {@code length} keys: both rounded
   * up to powers of two, so that the packs of a run need few plans.
   */
  static CudnnAttentionShape bucket(
      int segments,
      int length,
      int heads,
      int kvHeads,
      int headDim,
      long qStride,
      long dQStride,
      Gradients gradients) {
    return new CudnnAttentionShape(
        powerOfTwo(Math.max(MIN_SEGMENTS, segments)),
        powerOfTwo(Math.max(MIN_LENGTH, length)),
        heads,
        kvHeads,
        headDim,
        qStride,
        dQStride,
        gradients);
  }

  /** Names what the forward plan depends on, for files. */
  String forwardKey() {
    return "attention-forward-" + common();
  }

  /** Names what the backward plan depends on, for files. */
  String backwardKey() {
    return "attention-backward-%s-d%d-%s"
        .formatted(
            common(), dQStride, gradients == Gradients.DETERMINISTIC ? "deterministic" : "atomic");
  }

  private String common() {
    return "bf16-s%d-l%d-h%d-k%d-e%d-q%d"
        .formatted(segments, length, heads, kvHeads, headDim, qStride);
  }

  private static int powerOfTwo(int atLeast) {
    return atLeast == 1 ? 1 : Math.multiplyExact(Integer.highestOneBit(atLeast - 1), 2);
  }
}
