package dev.gatun.train;

import dev.gatun.op.PreferenceDivergence;
import dev.gatun.op.PreferenceLoss;
import dev.gatun.op.PreferenceOptions;
import dev.gatun.op.PreferenceOptions.WeightedLoss;
import java.util.ArrayList;
import java.util.List;

/** The loss kernel's view of a {@link LossConfig}. */
final class LossOptions {
  private LossOptions() {}

  static PreferenceOptions of(LossConfig loss) {
    List<WeightedLoss> losses = new ArrayList<>();
    for (int i = 0; i < loss.lossType().size(); i++) {
      losses.add(
          new WeightedLoss(
              PreferenceLoss.valueOf(loss.lossType().get(i).name()), (float) loss.weight(i)));
    }
    Double ldAlpha = loss.ldAlpha();
    return new PreferenceOptions(
        losses,
        (float) loss.beta(),
        (float) loss.labelSmoothing(),
        (float) loss.discopopTau(),
        (float) loss.simpoGamma(),
        divergence(loss.fDivergenceType()),
        (float) loss.fAlphaDivergenceCoef(),
        ldAlpha == null ? 1 : ldAlpha.floatValue(),
        loss.useWeighting(),
        loss.referenceFree());
  }

  private static PreferenceDivergence divergence(FDivergence type) {
    return switch (type) {
      case REVERSE_KL -> PreferenceDivergence.REVERSE_KL;
      case FORWARD_KL -> PreferenceDivergence.FORWARD_KL;
      case JS_DIVERGENCE -> PreferenceDivergence.JS;
      case ALPHA_DIVERGENCE -> PreferenceDivergence.ALPHA;
    };
  }
}
