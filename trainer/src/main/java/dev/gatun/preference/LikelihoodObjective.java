package dev.gatun.preference;

import dev.gatun.backend.Backend;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.LanguageModelHead;
import dev.gatun.model.LanguageModelHead.Weighting;
import dev.gatun.model.PackedBatch;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;

/**
 * One packed batch of texts to imitate: the loss is the negative log-likelihood of its answer
 * tokens, each with the same weight.
 */
public final class LikelihoodObjective {
  private final Backend backend;
  private final Decoder decoder;
  private final LanguageModelHead head;
  private final int chunkRows;

  /**
   * Sums over a batch's predictions.
   *
   * @param logProb nats
   * @param correct predictions whose target was the most likely token
   * @param entropy nats
   */
  public record Statistics(double logProb, int predictions, int correct, double entropy) {
    public static final Statistics NONE = new Statistics(0, 0, 0, 0);

    public Statistics plus(Statistics other) {
      return new Statistics(
          logProb + other.logProb,
          predictions + other.predictions,
          correct + other.correct,
          entropy + other.entropy);
    }
  }

  public LikelihoodObjective(Backend backend, Decoder decoder, int chunkRows) {
    this.backend = backend;
    this.decoder = decoder;
    this.head = new LanguageModelHead(backend, decoder);
    this.chunkRows = chunkRows;
  }

  /** Shape of a batch, for {@link #plan}. */
  public static BatchShape shape(PackedBatch batch, int chunkRows) {
    return HeadChunks.shape(batch, chunkRows);
  }

  /** Counts, on a planning slab, what {@link #accumulate} takes. */
  public void plan(Slab planner, DType dtype, Activations.Policy keep, BatchShape shape) {
    decoder.activations(planner, dtype, keep, shape);
    head.allocate(planner, dtype, shape, Weighting.NONE);
    planner.allocate("d log-probs", DType.F32, shape.predictions());
  }

  /**
   * Adds the gradients of {@code -scale * sum of log-probs} to {@code gradients}. The batch has one
   * answer per sequence.
   */
  public Statistics accumulate(
      DecoderParameters policy,
      DecoderParameters gradients,
      DeviceBatch batch,
      float scale,
      Activations.Policy keep,
      Slab slab) {
    PackedBatch host = batch.host();
    DType dtype = policy.embedding().dtype();
    BatchShape shape = HeadChunks.shape(host, chunkRows);
    Activations activations = decoder.activations(slab, dtype, keep, shape);
    LanguageModelHead.Outputs outputs = head.allocate(slab, dtype, shape, Weighting.NONE);
    Tensor dLogProb = slab.allocate("d log-probs", DType.F32, host.numPredictions());
    float[] slope = new float[host.numPredictions()];
    Arrays.fill(slope, -scale);
    backend.upload(dLogProb, slope);

    try (Backend.Range _ = backend.range("forward")) {
      decoder.forward(policy, batch, activations);
      head.forward(policy, decoder, batch, activations, outputs);
    }
    try (Backend.Range _ = backend.range("head")) {
      for (HeadChunks.Chunk chunk : HeadChunks.of(host, chunkRows)) {
        int rowBegin = chunk.rowBegin(host);
        int rowEnd = chunk.rowEnd(host);
        if (rowBegin < rowEnd) {
          head.logProbs(policy, batch, outputs, rowBegin, rowEnd);
          head.backwardChunk(policy, gradients, batch, outputs, dLogProb, rowBegin, rowEnd);
        }
      }
    }
    try (Backend.Range _ = backend.range("backward")) {
      head.backward(policy, gradients, decoder, batch, activations, outputs);
      decoder.backward(policy, gradients, batch, activations);
    }
    return statistics(host, outputs);
  }

  private Statistics statistics(PackedBatch batch, LanguageModelHead.Outputs outputs) {
    float[] logProb = backend.downloadF32(outputs.logProb());
    float[] entropy = backend.downloadF32(outputs.entropy());
    int[] argmax = backend.downloadI32(outputs.argmax());
    double logProbSum = 0;
    double entropySum = 0;
    int correct = 0;
    for (int row = 0; row < batch.numRows(); row++) {
      for (int n = batch.predictionBegin()[row]; n < batch.predictionBegin()[row + 1]; n++) {
        logProbSum += logProb[n];
        entropySum += entropy[row];
        if (argmax[row] == batch.targets()[n]) {
          correct++;
        }
      }
    }
    return new Statistics(logProbSum, logProb.length, correct, entropySum);
  }
}
