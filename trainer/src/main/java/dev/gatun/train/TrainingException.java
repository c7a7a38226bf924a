package dev.gatun.train;

import dev.gatun.memory.GatunException;

/** Training cannot go on: it diverged, or a self-check failed. Nothing was saved from that step. */
public final class TrainingException extends GatunException {
  private static final long serialVersionUID = 1L;

  public TrainingException(String message) {
    super(message);
  }
}
