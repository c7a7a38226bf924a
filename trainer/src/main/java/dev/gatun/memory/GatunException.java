package dev.gatun.memory;

/** A failure whose message is one line: what, got, expected, remedy. */
public class GatunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public GatunException(String message) {
    super(message);
  }

  public GatunException(String message, Throwable cause) {
    super(message, cause);
  }
}
