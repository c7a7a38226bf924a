package dev.gatun.backend;

import dev.gatun.memory.GatunException;

/** cuDNN cannot compute what was asked for; the message says why. */
public final class CudnnUnsupportedException extends GatunException {
  private static final long serialVersionUID = 1L;

  /** An exception with the reason. */
  public CudnnUnsupportedException(String message) {
    super(message);
  }
}
