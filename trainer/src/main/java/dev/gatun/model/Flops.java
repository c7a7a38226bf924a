package dev.gatun.model;

import dev.gatun.hf.ModelConfig;

/**
 * Floating-point operations that a packed batch needs: multiply and add count as two. Behind the
 * keys and values of the last layer only the rows that predict are needed. Padding is not counted;
 * norms, activations and the like are left out, as is customary for model FLOP utilization.
 */
public record Flops(double linear, double attention, double head) {

  /** Of one forward pass. */
  public static Flops forward(ModelConfig config, PackedBatch batch) {
    double hidden = config.hiddenSize();
    double queries = (double) config.numHeads() * config.headDim();
    double keys = (double) config.numKeyValueHeads() * config.headDim();
    double keyWeights = hidden * 2 * keys;
    double otherWeights =
        hidden * (2 * queries + LayerParameters.gateUpWidth(config) + config.intermediateSize());
    int last = config.numLayers() - 1;
    double attention = 0;
    for (int layer = 0; layer < last; layer++) {
      attention += visibleKeys(batch, config.slidingWindow(layer));
    }
    attention += visibleKeysOfRows(batch, config.slidingWindow(last));
    double tokens = batch.numSequenceTokens();
    return new Flops(
        2 * (keyWeights * (last + 1) * tokens + otherWeights * (last * tokens + batch.numRows())),
        4 * queries * attention,
        2 * hidden * config.vocabSize() * batch.numRows());
  }

  public double total() {
    return linear + attention + head;
  }

  /**
   * Forward and backward: products twice again, attention 2.5 times (its scores are recomputed).
   */
  public double training() {
    return 3 * (linear + head) + 3.5 * attention;
  }

  /** Keys that the rows that predict see: their own and those before, as far as the window goes. */
  private static double visibleKeysOfRows(PackedBatch batch, int window) {
    double visible = 0;
    for (int row : batch.rows()) {
      int keys = batch.positions()[row] + 1;
      visible += window == 0 ? keys : Math.min(keys, window);
    }
    return visible;
  }

  /** Query-key pairs that the causal mask and the window leave, over all segments. */
  private static double visibleKeys(PackedBatch batch, int window) {
    int[] segments = batch.segments();
    double visible = 0;
    for (int s = 0; s < segments.length; s += 4) {
      if (segments[s] >= batch.numSequenceTokens()) {
        continue;
      }
      long queries = segments[s + 1];
      long first = segments[s + 3] - queries + 1; // keys that the first query sees
      if (window == 0 || segments[s + 3] <= window) {
        visible += queries * first + queries * (queries - 1) / 2.0;
      } else {
        for (long q = 0; q < queries; q++) {
          visible += Math.min(first + q, window);
        }
      }
    }
    return visible;
  }
}
