package dev.gatun.selftest;

/** Where a result goes. */
public enum Place {
  APART,
  /** Over the input that the op allows it to replace. */
  OVER_INPUT
}
