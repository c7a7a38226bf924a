package dev.gatun.train;

/** The update rule, with torch's semantics. */
public enum OptimizerType {
  ADAMW_TORCH,
  /** The same update; the name chooses an implementation in torch, and Gatun's is always fused. */
  ADAMW_TORCH_FUSED,
  RMSPROP,
  SGD;

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
