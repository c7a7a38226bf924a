package dev.gatun.optim;

/** How bf16 weights take steps that are smaller than their resolution. */
public enum Bf16Steps {
  /** Each weight has 16 more bits, which complete it to an exact f32 master. */
  EXACT,
  /** Each weight is rounded up or down at random, right on average. Takes no memory. */
  STOCHASTIC
}
