package dev.gatun.train;

/** Storage type of weights and activations; sums, softmax, norms and losses are always f32. */
public enum Precision {
  FLOAT32,
  /** Weights keep exact f32 master values: bf16 plus a 16-bit remainder. */
  BFLOAT16;

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
