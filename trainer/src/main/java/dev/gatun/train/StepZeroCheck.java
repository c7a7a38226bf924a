package dev.gatun.train;

import dev.gatun.preference.PairStatistics;
import java.util.List;
import java.util.OptionalDouble;

/**
 * Before the first update, a policy that started as its reference must have log-ratios of zero and
 * the loss that its formula gives there. What violates this (another tokenizer or precision, wrong
 * weights, a broken kernel) would otherwise train quietly towards the wrong goal.
 */
final class StepZeroCheck {
  /** Far above rounding, far below any real difference: log-probs are sums over whole answers. */
  private static final double TOLERANCE = 1e-4;

  private StepZeroCheck() {}

  /** Checks the statistics of the first step. */
  static void check(LossConfig config, List<PairStatistics> pairs) {
    for (PairStatistics pair : pairs) {
      check(pair.chosenLogProb(), pair.referenceChosenLogProb(), "chosen");
      check(pair.rejectedLogProb(), pair.referenceRejectedLogProb(), "rejected");
    }
    OptionalDouble expected = expectedLoss(config);
    double loss = pairs.stream().mapToDouble(PairStatistics::loss).sum();
    if (expected.isPresent()
        && Math.abs(loss - expected.getAsDouble())
            > TOLERANCE * Math.max(1, expected.getAsDouble())) {
      throw new TrainingException(
          "step 1: loss is %.6g, expected %.6g while the policy is the reference; the loss kernel"
                  .formatted(loss, expected.getAsDouble())
              + " and docs/losses.md disagree: please report this, with the options used");
    }
  }

  /**
   * Checks that stored scores are, bit for bit, what this run computes, which is what their keys
   * promise.
   */
  static void checkStored(List<PairStatistics> pairs) {
    for (PairStatistics pair : pairs) {
      if (pair.chosenLogProb() != pair.referenceChosenLogProb()
          || pair.rejectedLogProb() != pair.referenceRejectedLogProb()) {
        throw new TrainingException(
            "step 1: stored log-probabilities of the reference are %.9g and %.9g, this run computes"
                    .formatted(pair.referenceChosenLogProb(), pair.referenceRejectedLogProb())
                + " %.9g and %.9g, which must be the same bits; set reference_store none, and please"
                    .formatted(pair.chosenLogProb(), pair.rejectedLogProb())
                + " report this, with what gatun doctor says");
      }
    }
  }

  private static void check(double policy, double reference, String answer) {
    if (!(Math.abs(policy - reference) <= TOLERANCE * Math.max(1, Math.abs(reference)))) {
      throw new TrainingException(
          "step 1: log-probability of a %s answer is %.6f under the policy and %.6f under the"
                  .formatted(answer, policy, reference)
              + " reference, which are the same model; the weights changed while they were read,"
              + " or this machine computes wrongly (run gatun doctor)");
    }
  }

  /** The loss where policy and reference agree; empty if it depends on more than that. */
  static OptionalDouble expectedLoss(LossConfig config) {
    if (config.useWeighting() || config.referenceFree()) {
      return OptionalDouble.empty();
    }
    double sum = 0;
    for (int i = 0; i < config.lossType().size(); i++) {
      double beta = config.beta();
      double epsilon = config.labelSmoothing();
      double loss =
          switch (config.lossType().get(i)) {
            case SIGMOID, ROBUST, AOT, AOT_UNPAIRED, SIGMOID_NORM -> Math.log(2);
            case NCA_PAIR, BCO_PAIR -> 2 * Math.log(2);
            case HINGE, APO_ZERO, APO_DOWN -> 1;
            case IPO -> 1 / (4 * beta * beta);
            case SPPO_HARD -> 1 / (2 * beta * beta);
            case EXO_PAIR -> -0.5 * Math.log(4 * epsilon * (1 - epsilon));
            case DISCOPOP -> 0.5 * Math.log(2) + 0.5;
            case SFT, SIMPO -> Double.NaN;
          };
      sum += config.weight(i) * loss;
    }
    return Double.isNaN(sum) ? OptionalDouble.empty() : OptionalDouble.of(sum);
  }
}
