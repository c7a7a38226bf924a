package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Log-probabilities of target tokens, and statistics of the distribution, in one read of the
 * logits.
 *
 * <pre>
 *   z          = logits, or softcap * tanh(logits / softcap) if softcap > 0
 *   lse[r]     = log sum exp z[r]
 *   logProb[n] = z[r, targets[n]] - lse[r]     for n in [predictionBegin[r], predictionBegin[r + 1])
 * </pre>
 *
 * A row may predict several tokens: the last row of a prompt predicts the first token of each
 * answer. {@code predictionBegin} indexes {@code targets} and {@code logProb}, which may be larger
 * than the rows given: the rows may be a chunk of a batch. Saved: logits, lse.
 */
public final class LogProb {
  private static final Check CHECK = new Check("logprob");

  private LogProb() {}

  /**
   * Scores.
   *
   * @param logProb [out] {@code [predictions]} f32; those of the given rows are written
   * @param lse [out] {@code [rows]} f32
   * @param entropy [out] {@code [rows]} f32, lse - sum p z, nats; or null
   * @param argmax [out] {@code [rows]} i32, first of equals; or null
   * @param mean [out] {@code [rows]} f32, mean of z; or null
   * @param logSumSquare [out] {@code [rows]} f32, log sum p^2; or null
   * @param logits {@code [rows, vocab]} f32, rows may have gaps
   * @param predictionBegin {@code [rows + 1]} i32, ascending
   * @param targets {@code [predictions]} i32
   */
  public static void forward(
      Backend backend,
      Tensor logProb,
      Tensor lse,
      @Nullable Tensor entropy,
      @Nullable Tensor argmax,
      @Nullable Tensor mean,
      @Nullable Tensor logSumSquare,
      Tensor logits,
      Tensor predictionBegin,
      Tensor targets,
      float softcap) {
    check(logits, lse, "logProb", logProb, predictionBegin, targets);
    Check.Dim rows = dim("rows", logits.dim(0));
    CHECK.tensor("entropy", entropy, DType.F32, rows);
    CHECK.tensor("argmax", argmax, DType.I32, rows);
    CHECK.tensor("mean", mean, DType.F32, rows);
    CHECK.tensor("logSumSquare", logSumSquare, DType.F32, rows);
    backend
        .kernels()
        .logprobForward(
            logProb,
            lse,
            entropy,
            argmax,
            mean,
            logSumSquare,
            logits,
            predictionBegin,
            targets,
            logits.dim(0),
            logits.dim(1),
            logits.rowStride(),
            softcap);
  }

  /**
   *
   *
   * <pre>
   *   dZ[r] = sum over the row's n of dLogProb[n] (onehot(targets[n]) - softmax(z[r]))
   *   dLogits = dZ * dz/dlogits
   * </pre>
   *
   * @param dLogits [out] {@code [rows, vocab]} f32 or bf16, rows may have gaps; may begin where
   *     logits begin if rows of both are the same number of bytes apart
   * @param dLogProb {@code [predictions]} f32
   */
  public static void backward(
      Backend backend,
      Tensor dLogits,
      Tensor logits,
      Tensor lse,
      Tensor dLogProb,
      Tensor predictionBegin,
      Tensor targets,
      float softcap) {
    check(logits, lse, "dLogProb", dLogProb, predictionBegin, targets);
    CHECK.storage("dLogits", dLogits);
    CHECK.strided(
        "dLogits",
        dLogits,
        dLogits.dtype(),
        dim("rows", logits.dim(0)),
        dim("vocab", logits.dim(1)));
    backend
        .kernels()
        .logprobBackward(
            dLogits,
            logits,
            lse,
            dLogProb,
            predictionBegin,
            targets,
            logits.dim(0),
            logits.dim(1),
            dLogits.rowStride(),
            logits.rowStride(),
            softcap,
            dLogits.dtype());
  }

  private static void check(
      Tensor logits,
      Tensor lse,
      String logProbRole,
      Tensor logProb,
      Tensor predictionBegin,
      Tensor targets) {
    CHECK.rank("logits", logits, "rows", "vocab");
    CHECK.type("logits", logits, DType.F32);
    CHECK.tensor("lse", lse, DType.F32, dim("rows", logits.dim(0)));
    CHECK.tensor("predictionBegin", predictionBegin, DType.I32, dim("rows+1", logits.dim(0) + 1));
    CHECK.rank("targets", targets, "predictions");
    CHECK.tensor("targets", targets, DType.I32, dim("predictions", targets.dim(0)));
    CHECK.tensor(logProbRole, logProb, DType.F32, dim("predictions", targets.dim(0)));
  }
}
