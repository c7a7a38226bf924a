package dev.gatun.preference;

import dev.gatun.backend.Backend;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.LanguageModelHead;
import dev.gatun.model.LanguageModelHead.Weighting;
import dev.gatun.model.ModelTensors;
import dev.gatun.op.Gather;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;

/**
 * Log-probabilities of a batch's answer tokens under some weights, without gradients. The same
 * kernels, packing and precision as training, so that a policy that equals its reference has
 * log-ratios of exactly zero.
 */
public final class Scorer {
  /**
   * Raised by whoever changes a bit of what {@link #score} gives: another order of sums, another
   * fusion, another table. Scores that were stored under another number are made again. Changes of
   * native code need no new number: their libraries are known by their content.
   */
  public static final int NUMERICS_VERSION = 1;

  private final Backend backend;
  private final Decoder decoder;
  private final LanguageModelHead head;
  private final int chunkRows;

  /** A scorer whose logits buffer holds about {@code chunkRows} rows. */
  public Scorer(Backend backend, Decoder decoder, int chunkRows) {
    this.backend = backend;
    this.decoder = decoder;
    this.head = new LanguageModelHead(backend, decoder);
    this.chunkRows = chunkRows;
  }

  /**
   * Writes the log-probabilities to {@code byAnswer} {@code [predictions]} f32. Scratch comes from
   * the slab and is given back.
   */
  public void score(DecoderParameters weights, DeviceBatch batch, Slab slab, Tensor byAnswer) {
    long mark = slab.mark();
    BatchShape shape = HeadChunks.shape(batch.host(), chunkRows);
    DType dtype = weights.embedding().dtype();
    Activations activations = decoder.activations(slab, dtype, Activations.Policy.DISCARD, shape);
    LanguageModelHead.Outputs outputs = head.allocate(slab, dtype, shape, Weighting.NONE);
    decoder.forward(weights, batch, activations);
    head.forward(weights, decoder, activations, outputs);
    for (HeadChunks.Chunk chunk : HeadChunks.of(batch.host(), chunkRows)) {
      head.logProbs(
          weights, batch, outputs, chunk.rowBegin(batch.host()), chunk.rowEnd(batch.host()));
    }
    Gather.forward(
        backend,
        byAnswer.view("by answer", 0, byAnswer.elementCount(), 1),
        outputs.logProb().view("by row", 0, outputs.logProb().elementCount(), 1),
        batch.byAnswer());
    slab.reset(mark);
  }

  /** Counts, on a planning slab, what {@link #score} takes and gives back. */
  public static void plan(Slab planner, ModelTensors model, DType dtype, BatchShape shape) {
    long mark = planner.mark();
    model.activations(planner, dtype, Activations.Policy.DISCARD, shape);
    model.head(planner, dtype, shape, Weighting.NONE);
    planner.reset(mark);
  }
}
