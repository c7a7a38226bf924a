package dev.gatun.train;

import java.util.Set;

/**
 * The preference losses, under TRL's names; formulas in docs/losses.md. In the comments, h = beta
 * (a - b), where a and b are the log-ratios of policy to reference of the chosen and the rejected
 * answer.
 */
public enum LossType {
  /** -log sigmoid(h); with label smoothing, conservative DPO. DPO, arXiv:2305.18290. */
  SIGMOID(Reads.REFERENCE, Reads.SCORE, Reads.SMOOTHING),
  /** max(0, 1 - h). SLiC, arXiv:2305.10425, and RSO, arXiv:2309.06657. */
  HINGE(Reads.REFERENCE, Reads.SCORE),
  /** Squared distance of the length-averaged log-ratios from 1 / (2 beta). arXiv:2310.12036. */
  IPO(Reads.REFERENCE, Reads.SCORE),
  /** Reverse KL to the smoothed preference. EXO, arXiv:2402.00856. */
  EXO_PAIR(Reads.REFERENCE, Reads.SCORE, Reads.SMOOTHING),
  /** Noise-contrastive alignment of a pair. arXiv:2402.05369. */
  NCA_PAIR(Reads.REFERENCE),
  /** DPO corrected for labels flipped with a known probability. arXiv:2403.00409. */
  ROBUST(Reads.REFERENCE, Reads.SCORE, Reads.SMOOTHING),
  /** Binary classifier of chosen and rejected, without a running baseline. arXiv:2404.04656. */
  BCO_PAIR(Reads.REFERENCE),
  /** Squared distances of a from 1 / (2 beta) and b from -1 / (2 beta). arXiv:2405.00675. */
  SPPO_HARD(Reads.REFERENCE),
  /** Optimal transport between sorted margins of a micro-batch. arXiv:2406.05882. */
  AOT(Reads.REFERENCE, Reads.SMOOTHING),
  /** The same between sorted log-ratios of chosen and of rejected. arXiv:2406.05882. */
  AOT_UNPAIRED(Reads.REFERENCE, Reads.SMOOTHING),
  /** Chosen up, rejected down. APO, arXiv:2408.06266. */
  APO_ZERO(Reads.REFERENCE),
  /** Both down, rejected further. APO, arXiv:2408.06266. */
  APO_DOWN(Reads.REFERENCE),
  /** Logistic and exponential loss, blended by h. DiscoPOP, arXiv:2406.08414. */
  DISCOPOP(Reads.REFERENCE, Reads.SCORE),
  /** Mean cross-entropy of the chosen tokens of a micro-batch. */
  SFT,
  /**
   * As {@link #SIGMOID}, each log-ratio divided by its answer's length. Tulu 3, arXiv:2411.15124.
   */
  SIGMOID_NORM(Reads.REFERENCE, Reads.SCORE),
  /** Length-averaged log-probs with a target margin; no reference. SimPO, arXiv:2405.14734. */
  SIMPO;

  private enum Reads {
    REFERENCE,
    SCORE,
    SMOOTHING
  }

  private final Set<Reads> reads;

  LossType(Reads... reads) {
    this.reads = Set.of(reads);
  }

  /** Whether the loss depends on the reference's log-probs. */
  public boolean readsReference() {
    return reads.contains(Reads.REFERENCE);
  }

  /** Whether an f-divergence other than reverse KL is defined for it and changes it. */
  public boolean readsFDivergence() {
    return reads.contains(Reads.SCORE);
  }

  /** Whether {@code label_smoothing} changes it. */
  public boolean readsLabelSmoothing() {
    return reads.contains(Reads.SMOOTHING);
  }

  /** Whether it compares the sorted log-ratios of a micro-batch, not pair with pair. */
  public boolean sortsMicroBatch() {
    return this == AOT || this == AOT_UNPAIRED;
  }

  /** The constant of this name; see {@link #toString}. */
  public static LossType fromName(String name) {
    return OptionName.parse(LossType.class, "loss_type", name);
  }

  /** The name as TRL spells it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
