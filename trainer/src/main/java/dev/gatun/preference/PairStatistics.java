package dev.gatun.preference;

/**
 * What one pair contributes to the metrics of its micro-batch. Sums run over answer tokens; token
 * counts are predictions (answer tokens that have a predecessor).
 *
 * @param loss its share of the step's loss, scaled
 * @param chosenLogProb summed log-probability of the chosen answer, nats
 * @param chosenLogits sum over the chosen tokens of the mean logit
 * @param correct chosen tokens that were the most likely ones
 * @param entropy sum over both answers, nats
 */
public record PairStatistics(
    double loss,
    double chosenLogProb,
    double rejectedLogProb,
    double referenceChosenLogProb,
    double referenceRejectedLogProb,
    int chosenTokens,
    int rejectedTokens,
    double chosenLogits,
    double rejectedLogits,
    int correct,
    double entropy) {}
