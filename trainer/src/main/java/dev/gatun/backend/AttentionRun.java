package dev.gatun.backend;

import dev.gatun.tensor.DType;

/**
 * The attention of a run, at its largest; by it a provider is chosen and its memory reserved.
 *
 * @param dtype of q, k, v and out
 * @param heads query heads
 * @param kvHeads key heads
 * @param headDim elements of a head
 * @param qStride elements between rows of q
 * @param dQStride elements between rows of dQ
 * @param scale factor of the scores
 * @param softcap of the scores; 0 for none
 * @param window fewest keys that a layer limits its queries to; 0: none to less than longestKeys
 * @param segments most segments of a pack
 * @param longestKeys most keys of a segment
 * @param tokens most query rows of a pack
 * @param keyRows most key rows of a pack
 */
public record AttentionRun(
    DType dtype,
    int heads,
    int kvHeads,
    int headDim,
    long qStride,
    long dQStride,
    float scale,
    float softcap,
    int window,
    int segments,
    int longestKeys,
    int tokens,
    int keyRows) {
  /** Checks the ranges. */
  public AttentionRun {
    if (kvHeads < 1
        || heads < 1
        || heads % kvHeads != 0
        || segments < 1
        || longestKeys < 1
        || tokens < 1
        || keyRows < 1) {
      throw new IllegalArgumentException(
          "attention: %d heads for %d, %d segments of up to %d keys, %d tokens, %d key rows"
              .formatted(heads, kvHeads, segments, longestKeys, tokens, keyRows));
    }
  }
}
