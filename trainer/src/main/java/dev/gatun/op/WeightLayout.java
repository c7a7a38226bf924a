package dev.gatun.op;

/** How the weight of a {@link Linear} is stored. */
public enum WeightLayout {
  /** {@code [out, in]}: Hugging Face's Linear. */
  OUT_IN,
  /** {@code [in, out]}: GPT-2's Conv1D. */
  IN_OUT
}
