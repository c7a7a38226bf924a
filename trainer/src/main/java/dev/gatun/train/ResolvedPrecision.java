package dev.gatun.train;

/**
 * The storage type of a run's weights and activations on its device.
 *
 * @param reason why {@link PrecisionChoice#AUTO} came to it; empty where the user named it
 */
public record ResolvedPrecision(Precision precision, String reason) {
  /** For people: the type, and the reason if there is one. */
  @Override
  public String toString() {
    return reason.isEmpty() ? precision.toString() : "%s (%s)".formatted(precision, reason);
  }
}
