package dev.gatun.op;

/** A loss of {@link Preference}; formulas in docs/losses.md. */
public enum PreferenceLoss {
  SIGMOID(0),
  HINGE(1),
  IPO(2),
  EXO_PAIR(3),
  NCA_PAIR(4),
  ROBUST(5),
  BCO_PAIR(6),
  SPPO_HARD(7),
  AOT(8),
  AOT_UNPAIRED(9),
  APO_ZERO(10),
  APO_DOWN(11),
  DISCOPOP(12),
  SFT(13),
  SIGMOID_NORM(14),
  SIMPO(15);

  private final int code;

  PreferenceLoss(int code) {
    this.code = code;
  }

  /** The value of {@code enum gatun_loss} (gatun_kernels.h). */
  int code() {
    return code;
  }
}
