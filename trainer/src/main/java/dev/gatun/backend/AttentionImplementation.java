package dev.gatun.backend;

import java.util.Locale;

/** Who computes attention: what a user asks for. */
public enum AttentionImplementation {
  /** The faster one for the run's shape, measured once on the device. */
  AUTO,
  /** Gatun's own kernels. */
  GATUN,
  /** cuDNN's fused attention, on GPUs. */
  CUDNN;

  /** The word that users type. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
