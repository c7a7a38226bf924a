package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The preference losses of pairs and, in closed form, their gradients. Formulas: docs/losses.md.
 *
 * <p>Predictions are grouped by answer: pair p's chosen answer is {@code [answerBegin[2p],
 * answerBegin[2p + 1])}, its rejected answer {@code [answerBegin[2p + 1], answerBegin[2p + 2])}.
 * The pairs may be a chunk of a batch: {@code answerBegin} need not start at 0.
 */
public final class Preference {
  /** Columns of {@code sums}: log-probs of policy and reference, of chosen and rejected. */
  private static final long SUMS = 4;

  private static final Check CHECK = new Check("preference");

  private Preference() {}

  /**
   * Losses and gradients.
   *
   * @param loss [out] {@code [pairs]} f32: {@code pairScale[p] * sum_k weight_k L_k}, and {@code
   *     sftScale[p] * weight * -(sum of chosen log-probs)} for sft
   * @param sums [out] {@code [pairs, 4]} f32: policy chosen, policy rejected, reference chosen,
   *     reference rejected
   * @param dLogProb [out] {@code [predictions]} f32: gradient of the sum of loss; those of the
   *     given pairs are written
   * @param logProb {@code [predictions]} f32, the policy's
   * @param referenceLogProb {@code [predictions]} f32; null where no loss reads it
   * @param logSumSquare {@code [predictions]} f32, log sum p^2; null unless useWeighting
   * @param answerBegin {@code [2 * pairs + 1]} i32, ascending
   * @param groupBegin {@code [groups + 1]} i32: the micro-batches, in pairs, inside which aot and
   *     aot_unpaired sort
   * @param pairScale {@code [pairs]} f32
   * @param sftScale {@code [pairs]} f32
   */
  public static void forward(
      Backend backend,
      Tensor loss,
      Tensor sums,
      Tensor dLogProb,
      Tensor logProb,
      @Nullable Tensor referenceLogProb,
      @Nullable Tensor logSumSquare,
      Tensor answerBegin,
      Tensor groupBegin,
      Tensor pairScale,
      Tensor sftScale,
      PreferenceOptions options) {
    CHECK.rank("loss", loss, "pairs");
    CHECK.rank("logProb", logProb, "predictions");
    CHECK.rank("groupBegin", groupBegin, "groups+1");
    CHECK.that(groupBegin.dim(0) >= 2, "groupBegin is %s, expected >= 1 group", groupBegin);
    Check.Dim pairs = dim("pairs", loss.dim(0));
    Check.Dim predictions = dim("predictions", logProb.dim(0));
    CHECK.tensor("loss", loss, DType.F32, pairs);
    CHECK.tensor("sums", sums, DType.F32, pairs, dim("sums", SUMS));
    CHECK.tensor("dLogProb", dLogProb, DType.F32, predictions);
    CHECK.tensor("logProb", logProb, DType.F32, predictions);
    CHECK.tensor("referenceLogProb", referenceLogProb, DType.F32, predictions);
    CHECK.tensor("logSumSquare", logSumSquare, DType.F32, predictions);
    CHECK.that(
        logSumSquare != null || !options.useWeighting(),
        "logSumSquare is absent, expected with useWeighting");
    CHECK.tensor("answerBegin", answerBegin, DType.I32, dim("2*pairs+1", 2 * loss.dim(0) + 1));
    CHECK.tensor("groupBegin", groupBegin, DType.I32, dim("groups+1", groupBegin.dim(0)));
    CHECK.tensor("pairScale", pairScale, DType.F32, pairs);
    CHECK.tensor("sftScale", sftScale, DType.F32, pairs);
    backend
        .kernels()
        .preference(
            loss,
            sums,
            dLogProb,
            logProb,
            referenceLogProb,
            logSumSquare,
            answerBegin,
            groupBegin,
            pairScale,
            sftScale,
            loss.dim(0),
            groupBegin.dim(0) - 1,
            options.lossCodes(),
            options.lossWeights(),
            options.beta(),
            options.labelSmoothing(),
            options.discopopTau(),
            options.simpoGamma(),
            options.divergence().code(),
            options.divergenceAlpha(),
            options.ldAlpha(),
            options.useWeighting() ? 1 : 0,
            options.referenceFree() ? 1 : 0);
  }
}
