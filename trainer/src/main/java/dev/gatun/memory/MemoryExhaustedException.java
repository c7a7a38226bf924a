package dev.gatun.memory;

/** The system refused to give native memory. */
public final class MemoryExhaustedException extends GatunException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an exception for memory that was asked for in vain.
   *
   * @param name what it was to hold
   */
  public MemoryExhaustedException(String name, long sizeBytes) {
    super(
        "%s: the system refused %d bytes (%.1f GiB); choose a smaller model or batch"
            .formatted(name, sizeBytes, sizeBytes / (double) (1L << 30)));
  }
}
