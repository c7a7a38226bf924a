package dev.gatun.op;

/**
 * The numbers of one step of {@link Sgd}, in double as torch has them.
 *
 * @param first whether the momentum buffer is still empty
 */
public record SgdStep(double learningRate, double momentum, double weightDecay, boolean first) {}
