package dev.gatun.bench;

/**
 * Sizes of a step: pairs of a prompt and two answers, all of the same lengths.
 *
 * @param pairs that are computed together
 * @param promptTokens of a prompt
 * @param answerTokens of an answer
 * @param logitRows most predictions that logits are made of at a time
 */
public record OpSizes(int pairs, int promptTokens, int answerTokens, int logitRows) {
  /** Checks the ranges. */
  public OpSizes {
    if (pairs < 1 || promptTokens < 1 || answerTokens < 1 || logitRows < 1) {
      throw new IllegalArgumentException(
          "%d pairs, %d and %d tokens, %d rows of logits; expected at least 1 of each"
              .formatted(pairs, promptTokens, answerTokens, logitRows));
    }
  }
}
