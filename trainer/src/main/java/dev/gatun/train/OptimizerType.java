package dev.gatun.train;

/** The update rule, with torch's semantics. */
public enum OptimizerType {
  ADAMW_TORCH,
  /** The same update; the name chooses an implementation in torch, and Gatun's is always fused. */
  ADAMW_TORCH_FUSED,
  /** AdamW with moments of 8 bits. */
  ADAMW_8BIT,
  RMSPROP,
  SGD;

  /** Whether the update is AdamW's. */
  boolean isAdam() {
    return this == ADAMW_TORCH || this == ADAMW_TORCH_FUSED || this == ADAMW_8BIT;
  }

  /** The constant of this name; see {@link #toString}. */
  public static OptimizerType fromName(String name) {
    return OptionName.parse(OptimizerType.class, "optim", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
