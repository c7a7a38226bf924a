package dev.gatun.memory;

/**
 * Something went wrong in a way that Gatun can explain. The message is one line: what, got,
 * expected, remedy. Packages derive one type per cause that a caller can act on.
 */
public class GatunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Creates an exception with a one-line message. */
  public GatunException(String message) {
    super(message);
  }

  /** Creates an exception with a one-line message and what caused it. */
  public GatunException(String message, Throwable cause) {
    super(message, cause);
  }
}
