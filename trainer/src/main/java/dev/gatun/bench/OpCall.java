package dev.gatun.bench;

/**
 * One call of an op, and its work.
 *
 * @param run enqueues it
 * @param bytes each tensor read and written once
 * @param flops multiplications and additions of matrix products and attention; 0 of other ops
 */
public record OpCall(Runnable run, double bytes, double flops) {}
