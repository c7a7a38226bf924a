package dev.gatun.memory;

/** The system or a device refused to give native memory. */
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
            .formatted(name, sizeBytes, gibibytes(sizeBytes)));
  }

  /**
   * Creates an exception for memory of a device that was asked for in vain.
   *
   * @param name what it was to hold
   * @param device the device as users know it
   */
  public MemoryExhaustedException(
      String name, long sizeBytes, String device, long freeBytes, long totalBytes) {
    super(
        ("%s: %s refused %d bytes (%.1f GiB), %.1f GiB of its %.1f GiB are free;"
                + " choose a smaller model or batch, or end what else uses the device")
            .formatted(
                name,
                device,
                sizeBytes,
                gibibytes(sizeBytes),
                gibibytes(freeBytes),
                gibibytes(totalBytes)));
  }

  private MemoryExhaustedException(String message, MemoryExhaustedException refused) {
    super(message, refused);
  }

  /** The same, with what memory is for and what to change. */
  public MemoryExhaustedException explained(String explanation) {
    return new MemoryExhaustedException(getMessage() + "; " + explanation, this);
  }

  private static double gibibytes(long sizeBytes) {
    return sizeBytes / (double) (1L << 30);
  }
}
