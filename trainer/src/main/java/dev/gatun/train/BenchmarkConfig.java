package dev.gatun.train;

import java.util.Objects;

/**
 * Training steps to be measured, on made-up pairs.
 *
 * @param model what is trained
 * @param promptTokens lengths of prompts
 * @param answerTokens lengths of answers
 * @param pairsPerStep pairs in an optimizer step
 * @param dtype storage type of weights and activations
 * @param loss its type and the source of the reference's log-probabilities
 * @param reference when the reference is scored
 * @param gradientCheckpointing recompute a layer's activations in the backward pass
 * @param maxTokensPerPack longest pack of pairs that is computed at once; 0: chosen
 * @param device where to compute
 * @param deviceOptions how it computes
 * @param steps optimizer steps in a round
 * @param warmUpSteps before the first round; not measured
 * @param rounds of the same steps, for the spread
 * @param seed of weights and pairs
 */
public record BenchmarkConfig(
    BenchmarkModel model,
    LengthRange promptTokens,
    LengthRange answerTokens,
    int pairsPerStep,
    PrecisionChoice dtype,
    LossType loss,
    ReferenceTime reference,
    boolean gradientCheckpointing,
    int maxTokensPerPack,
    Device device,
    DeviceOptions deviceOptions,
    int steps,
    int warmUpSteps,
    int rounds,
    long seed) {
  /** When the reference is scored. */
  public enum ReferenceTime {
    /** Once before training, as with {@code precompute_ref_log_probs}. */
    CACHED,
    /** A resident reference scores each step's pairs, as in a run's first epoch. */
    LIVE;

    /** The name as users spell it. */
    @Override
    public String toString() {
      return OptionName.of(this);
    }
  }

  public BenchmarkConfig {
    Objects.requireNonNull(model, "model");
    Objects.requireNonNull(dtype, "dtype");
    Check.that("pairs", pairsPerStep >= 1, pairsPerStep, "at least 1");
    Check.that("steps", steps >= 1, steps, "at least 1");
    Check.that("warmup_steps", warmUpSteps >= 0, warmUpSteps, "0 or above");
    Check.that("rounds", rounds >= 1, rounds, "at least 1");
    Check.that(
        "steps",
        ((long) rounds * steps + warmUpSteps) * pairsPerStep <= Integer.MAX_VALUE,
        steps,
        "rounds * steps * pairs of at most " + Integer.MAX_VALUE);
  }

  int totalSteps() {
    return warmUpSteps + rounds * steps;
  }
}
