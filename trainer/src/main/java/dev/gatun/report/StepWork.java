package dev.gatun.report;

/**
 * The work of one optimizer step.
 *
 * @param rows pairs or samples trained on
 * @param tokens their tokens as TRL counts them: chosen and rejected, each with its prompt
 * @param tokensPadded the tokens of the rectangles that a padding trainer computes for them
 * @param tokensComputed the tokens that were computed here
 * @param usefulFlops floating-point operations of {@code tokens}, forward and backward,
 *     recomputation not counted
 * @param nanos wall time of the step
 */
public record StepWork(
    long rows,
    long tokens,
    long tokensPadded,
    long tokensComputed,
    double usefulFlops,
    long nanos) {
  static final StepWork NONE = new StepWork(0, 0, 0, 0, 0, 0);

  public StepWork {
    if (rows < 0 || tokens < 0 || tokensPadded < 0 || tokensComputed < 0 || nanos < 0) {
      throw new IllegalArgumentException("work below 0: " + rows + " rows, " + tokens + " tokens");
    }
  }

  StepWork plus(StepWork other) {
    return new StepWork(
        rows + other.rows,
        tokens + other.tokens,
        tokensPadded + other.tokensPadded,
        tokensComputed + other.tokensComputed,
        usefulFlops + other.usefulFlops,
        nanos + other.nanos);
  }
}
