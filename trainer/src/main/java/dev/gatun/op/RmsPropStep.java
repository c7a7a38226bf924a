package dev.gatun.op;

/** The numbers of one step of {@link RmsProp}, in double as torch has them. */
public record RmsPropStep(
    double learningRate, double alpha, double eps, double momentum, double weightDecay) {}
