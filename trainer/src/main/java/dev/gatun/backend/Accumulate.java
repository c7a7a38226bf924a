package dev.gatun.backend;

/** What becomes of the output's former contents. */
public enum Accumulate {
  /** The output is overwritten. */
  OVERWRITE,
  /** The result is added to the output. */
  ADD
}
