package dev.gatun.op;

/** The f-divergence whose f' transforms log-ratios before a loss reads them. */
public enum PreferenceDivergence {
  /** {@code u}. */
  REVERSE_KL(0),
  /** {@code 1 - exp(-u)}. */
  FORWARD_KL(1),
  /** {@code ln 2 + log sigmoid(u)}. */
  JS(2),
  /** {@code (exp((alpha - 1) u) - 1) / (alpha - 1)}. */
  ALPHA(3);

  private final int code;

  PreferenceDivergence(int code) {
    this.code = code;
  }

  /** The value of {@code enum gatun_f_divergence} (gatun_kernels.h). */
  int code() {
    return code;
  }
}
