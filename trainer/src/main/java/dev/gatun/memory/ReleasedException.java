package dev.gatun.memory;

/** Memory was used after its owner closed it. */
public final class ReleasedException extends GatunException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an exception for the memory called {@code name}.
   *
   * @param name the buffer that is closed
   */
  public ReleasedException(String name) {
    super(name + ": used after close");
  }
}
