package dev.gatun.model;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.op.Linear;
import dev.gatun.op.LogProb;
import dev.gatun.op.WeightLayout;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Final norm, LM head and log-probabilities of the rows that predict an answer token, in chunks of
 * rows: logits exist for one chunk at a time, never as {@code [tokens, vocab]}.
 *
 * <p>Order of calls for a batch: {@link #forward}; then per chunk {@link #logProbs} and, when
 * training, {@link #backwardChunk} while the chunk's logits are still there (or after {@link
 * #logits} made them again); at last {@link #backward}.
 */
public final class LanguageModelHead {
  private final Backend backend;
  private final ModelConfig config;
  private final Norm norm;

  public LanguageModelHead(Backend backend, Decoder decoder) {
    this.backend = backend;
    this.config = decoder.config();
    this.norm = decoder.norm();
  }

  /**
   * Tensors of one batch. {@code R} prediction rows, {@code N} predictions, {@code C} rows of the
   * largest chunk.
   *
   * @param stream {@code [R, hidden]} the residual stream of the prediction rows
   * @param normed {@code [R, hidden]}
   * @param logits {@code [C, vocab]} f32; its gradient replaces it
   * @param logProb {@code [N]} f32, by row
   * @param entropy {@code [R]} f32, nats
   * @param argmax {@code [R]} i32
   * @param mean {@code [R]} f32, mean logit
   * @param logSumSquare {@code [R]} f32, log sum p^2; only where a loss weighs by it
   */
  public record Outputs(
      Tensor stream,
      Tensor normed,
      Norm.Saved saved,
      Tensor logits,
      Tensor logProb,
      Tensor lse,
      Tensor entropy,
      Tensor argmax,
      Tensor mean,
      @Nullable Tensor logSumSquare) {
    static Outputs allocate(
        Slab slab, ModelConfig config, DType dtype, BatchShape shape, Weighting weighting) {
      long rows = shape.rows();
      return new Outputs(
          slab.allocate("head stream", dtype, rows, config.hiddenSize()),
          slab.allocate("head normed", dtype, rows, config.hiddenSize()),
          Norm.Saved.allocate(slab, config, "final norm", rows),
          slab.allocate("logits", DType.F32, shape.chunkRows(), config.vocabSize()),
          slab.allocate("log-probs by row", DType.F32, shape.predictions()),
          slab.allocate("log-sum-exp", DType.F32, rows),
          slab.allocate("entropy", DType.F32, rows),
          slab.allocate("argmax", DType.I32, rows),
          slab.allocate("mean logit", DType.F32, rows),
          weighting == Weighting.NONE
              ? null
              : slab.allocate("log sum of squares", DType.F32, rows));
    }
  }

  /** Whether log sum p^2 is computed too. */
  public enum Weighting {
    NONE,
    LOG_SUM_SQUARE
  }

  /** Carves the tensors of a batch of this shape. */
  public Outputs allocate(Slab slab, DType dtype, BatchShape shape, Weighting weighting) {
    return Outputs.allocate(slab, config, dtype, shape, weighting);
  }

  /** Normalizes the prediction rows behind the last layer. */
  public void forward(
      DecoderParameters weights, Decoder decoder, Activations activations, Outputs out) {
    norm.forward(
        out.normed(),
        out.stream(),
        out.saved(),
        decoder.middle(activations),
        decoder.delta(activations),
        weights.finalNorm());
  }

  /** Logits of prediction rows {@code [rowBegin, rowEnd)}, into the chunk's buffer. */
  public Tensor logits(DecoderParameters weights, Outputs out, int rowBegin, int rowEnd) {
    int rows = rowEnd - rowBegin;
    Tensor logits = out.logits().rows(0, rows);
    Linear.forward(
        backend,
        logits,
        out.normed().rows(rowBegin, rows),
        weights.head(),
        null,
        WeightLayout.OUT_IN);
    return logits;
  }

  /** Logits of the rows, then their log-probabilities and statistics. */
  public void logProbs(
      DecoderParameters weights, DeviceBatch batch, Outputs out, int rowBegin, int rowEnd) {
    int rows = rowEnd - rowBegin;
    Tensor logits = logits(weights, out, rowBegin, rowEnd);
    Tensor logSumSquare = out.logSumSquare();
    LogProb.forward(
        backend,
        out.logProb(),
        out.lse().rows(rowBegin, rows),
        out.entropy().rows(rowBegin, rows),
        out.argmax().rows(rowBegin, rows),
        out.mean().rows(rowBegin, rows),
        logSumSquare == null ? null : logSumSquare.rows(rowBegin, rows),
        logits,
        batch.predictionBegin().rows(rowBegin, rows + 1L),
        batch.targets(),
        config.finalLogitSoftcap());
  }

  /**
   * From the gradient of the log-probabilities ({@code dLogProb}, {@code [N]} by row) of rows
   * {@code [rowBegin, rowEnd)}, whose logits are in the chunk's buffer: the head's weight gradient,
   * and the gradient of the normed rows, which replaces them.
   */
  public void backwardChunk(
      DecoderParameters weights,
      DecoderParameters gradients,
      DeviceBatch batch,
      Outputs out,
      Tensor dLogProb,
      int rowBegin,
      int rowEnd) {
    int rows = rowEnd - rowBegin;
    Tensor logits = out.logits().rows(0, rows);
    Tensor dLogits = narrowed(logits, out.normed().dtype());
    LogProb.backward(
        backend,
        dLogits,
        logits,
        out.lse().rows(rowBegin, rows),
        dLogProb,
        batch.predictionBegin().rows(rowBegin, rows + 1L),
        batch.targets(),
        config.finalLogitSoftcap());
    Tensor normed = out.normed().rows(rowBegin, rows);
    Linear.backwardWeight(backend, gradients.head(), dLogits, normed, WeightLayout.OUT_IN);
    Linear.backwardInput(
        backend, normed, dLogits, weights.head(), WeightLayout.OUT_IN, Accumulate.OVERWRITE);
  }

  /**
   * Through the final norm: {@code [R, hidden]}, the gradient of the residual stream behind the
   * last layer, which {@link Decoder#backward} takes.
   */
  public Tensor backward(DecoderParameters weights, DecoderParameters gradients, Outputs out) {
    Tensor dNormed = out.normed();
    norm.backward(
        dNormed,
        gradients.finalNorm(),
        dNormed,
        out.stream(),
        weights.finalNorm(),
        out.saved(),
        null);
    return dNormed;
  }

  /** The buffer of f32 logits as rows of {@code dtype} that start where the f32 rows start. */
  private static Tensor narrowed(Tensor logits, DType dtype) {
    if (dtype == DType.F32) {
      return logits;
    }
    long perFloat = DType.F32.sizeBytes() / dtype.sizeBytes();
    return logits
        .reinterpret("d logits", dtype, logits.dim(0), logits.dim(1) * perFloat)
        .columns("d logits", 0, logits.dim(1));
  }
}
