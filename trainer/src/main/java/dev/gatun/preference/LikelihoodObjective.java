package dev.gatun.preference;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.LanguageModelHead;
import dev.gatun.model.LanguageModelHead.Weighting;
import dev.gatun.model.ModelTensors;
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

  /**
   * Counts, on a planning slab, what {@link #accumulate} takes.
   *
   * @return the bytes of it that are activations and logits
   */
  public static StepBytes plan(
      Slab planner, ModelTensors model, DType dtype, Activations.Policy keep, BatchShape shape) {
    StepBytes bytes = StepBytes.plan(planner, model, dtype, keep, shape, Weighting.NONE);
    planner.allocate("d log-probs", DType.F32, shape.predictions());
    return bytes;
  }

  /**
   * Adds the gradients of {@code -scale * sum of log-probs} to {@code gradients}. The batch has one
   * answer per sequence.
   *
   * @param results where the outcome is kept
   */
  public Outcome accumulate(
      DecoderParameters policy,
      DecoderParameters gradients,
      DeviceBatch batch,
      float scale,
      Activations.Policy keep,
      Slab slab,
      Results results) {
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
      head.forward(policy, decoder, activations, outputs);
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
      Tensor dStream = head.backward(policy, gradients, outputs);
      decoder.backward(policy, gradients, batch, activations, dStream);
    }
    return new Outcome(
        host,
        results.keep(outputs.logProb()),
        results.keep(outputs.entropy()),
        results.keep(outputs.argmax()));
  }

  /** Counts, on a planning slab, what {@link #accumulate} keeps of a batch of this shape. */
  public static void planResults(Slab planner, BatchShape shape) {
    planner.allocate("log-probs by row", DType.F32, shape.predictions());
    planner.allocate("entropy", DType.F32, shape.rows());
    planner.allocate("argmax", DType.I32, shape.rows());
  }

  /**
   * What a batch leaves for the host, to be read with the step's other results. {@code N}
   * predictions, {@code R} prediction rows.
   *
   * @param logProb {@code [N]} by row
   * @param entropy {@code [R]}
   * @param argmax {@code [R]}
   */
  public record Outcome(
      PackedBatch batch, Results.Kept logProb, Results.Kept entropy, Results.Kept argmax) {
    /** Sums over the batch; the results have been read. */
    public Statistics statistics(Results results) {
      float[] logProbs = results.f32(logProb);
      float[] entropies = results.f32(entropy);
      int[] likeliest = results.i32(argmax);
      double logProbSum = 0;
      double entropySum = 0;
      int correct = 0;
      for (int row = 0; row < batch.numRows(); row++) {
        for (int n = batch.predictionBegin()[row]; n < batch.predictionBegin()[row + 1]; n++) {
          logProbSum += logProbs[n];
          entropySum += entropies[row];
          if (likeliest[row] == batch.targets()[n]) {
            correct++;
          }
        }
      }
      return new Statistics(logProbSum, logProbs.length, correct, entropySum);
    }
  }
}
