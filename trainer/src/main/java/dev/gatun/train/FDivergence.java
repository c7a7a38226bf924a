package dev.gatun.train;

/** The divergence that regularizes policy against reference (f-DPO, arXiv:2309.16240). */
public enum FDivergence {
  REVERSE_KL,
  FORWARD_KL,
  JS_DIVERGENCE,
  ALPHA_DIVERGENCE;

  /** The constant of this name; see {@link #toString}. */
  public static FDivergence fromName(String name) {
    return OptionName.parse(FDivergence.class, "f_divergence_type", name);
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
