package dev.gatun.op;

/** The function of a gated MLP. */
public enum Activation {
  /** {@code x / (1 + exp(-x))}. */
  SILU(0),
  /** {@code 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))}. */
  GELU_TANH(1);

  private final int code;

  Activation(int code) {
    this.code = code;
  }

  /** The value of {@code enum gatun_activation} (gatun_kernels.h). */
  int code() {
    return code;
  }
}
