package dev.gatun.op;

import java.util.List;

/**
 * What {@link Preference} computes: {@code struct gatun_preference_options}.
 *
 * @param losses at least one, at most 16
 * @param beta strength of the reference
 * @param labelSmoothing share of labels taken to be wrong; sigmoid (cDPO), exo_pair, robust, aot,
 *     aot_unpaired
 * @param discopopTau temperature of discopop
 * @param simpoGamma margin of simpo
 * @param divergence transforms the log-ratios
 * @param divergenceAlpha coefficient of {@link PreferenceDivergence#ALPHA}
 * @param ldAlpha weight of the log-probs beyond the shorter answer's length; 1 for plain sums
 * @param useWeighting WPO: a pair's loss is multiplied by the detached weights of its answers
 * @param referenceFree reference log-probs count as 0 in the loss
 */
public record PreferenceOptions(
    List<WeightedLoss> losses,
    float beta,
    float labelSmoothing,
    float discopopTau,
    float simpoGamma,
    PreferenceDivergence divergence,
    float divergenceAlpha,
    float ldAlpha,
    boolean useWeighting,
    boolean referenceFree) {
  /** {@code GATUN_MAX_LOSSES} (gatun_kernels.h). */
  private static final int MAX_LOSSES = 16;

  /** A loss and its factor in the sum. */
  public record WeightedLoss(PreferenceLoss loss, float weight) {}

  /** Checks the number of losses. */
  public PreferenceOptions {
    losses = List.copyOf(losses);
    if (losses.isEmpty() || losses.size() > MAX_LOSSES) {
      throw new IllegalArgumentException(
          "preference: %d losses, expected 1 to %d".formatted(losses.size(), MAX_LOSSES));
    }
  }

  int[] lossCodes() {
    return losses.stream().mapToInt(weighted -> weighted.loss().code()).toArray();
  }

  float[] lossWeights() {
    float[] weights = new float[losses.size()];
    for (int i = 0; i < weights.length; i++) {
      weights[i] = losses.get(i).weight();
    }
    return weights;
  }
}
