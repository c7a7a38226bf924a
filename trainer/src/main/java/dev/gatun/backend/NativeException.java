package dev.gatun.backend;

import dev.gatun.memory.GatunException;

/**
 * A native function returned a failure: {@code rmsnorm_forward: GATUN_INVALID_ARGUMENT (1): dim is
 * -1}.
 */
public final class NativeException extends GatunException {
  private static final long serialVersionUID = 1L;

  private final String function;
  private final int status;

  /**
   * Creates an exception for a failed call.
   *
   * @param status what the function returned
   * @param symbol the name of that value
   * @param text what the library says about it
   */
  public NativeException(String function, int status, String symbol, String text) {
    super("%s: %s (%d): %s".formatted(function, symbol, status, text));
    this.function = function;
    this.status = status;
  }

  /** The function that failed. */
  public String function() {
    return function;
  }

  /** What it returned. */
  public int status() {
    return status;
  }
}
