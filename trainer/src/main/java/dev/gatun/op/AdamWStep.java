package dev.gatun.op;

/**
 * The numbers of one step of {@link AdamW} or {@link AdamW8bit}, in double as torch has them.
 *
 * @param correction1 {@code 1 - beta1^step}, step counting from 1
 * @param correction2 {@code 1 - beta2^step}
 * @param roundingSeed 0: weights are rounded to nearest; another number: bf16 weights without
 *     remainders are rounded stochastically by its bits
 */
public record AdamWStep(
    double learningRate,
    double beta1,
    double beta2,
    double eps,
    double weightDecay,
    double correction1,
    double correction2,
    long roundingSeed) {}
