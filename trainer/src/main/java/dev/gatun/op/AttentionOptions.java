package dev.gatun.op;

/**
 * What a family varies in attention.
 *
 * @param scale factor of q . k, usually 1 / sqrt(headDim)
 * @param softcap scores become softcap * tanh(score / softcap); 0 for none
 * @param window keys that a query sees at most, itself included; 0 for all
 */
public record AttentionOptions(float scale, float softcap, int window) {
  /** Checks the ranges. */
  public AttentionOptions {
    if (!(softcap >= 0) || window < 0 || !Float.isFinite(scale)) {
      throw new IllegalArgumentException(
          "attention: scale is %s, softcap %s, window %d, expected finite, >= 0, >= 0"
              .formatted(scale, softcap, window));
    }
  }
}
