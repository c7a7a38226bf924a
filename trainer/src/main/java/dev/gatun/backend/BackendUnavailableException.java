package dev.gatun.backend;

import dev.gatun.memory.GatunException;

/** The backend asked for cannot run here: a library is missing, or the machine lacks something. */
public final class BackendUnavailableException extends GatunException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception that says why. */
  public BackendUnavailableException(String message) {
    super(message);
  }

  /** Creates an exception that says why. */
  public BackendUnavailableException(String message, Throwable cause) {
    super(message, cause);
  }
}
