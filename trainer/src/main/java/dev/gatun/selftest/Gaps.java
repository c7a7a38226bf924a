package dev.gatun.selftest;

/** Whether rows lie end to end. */
public enum Gaps {
  NONE,
  BETWEEN_ROWS
}
