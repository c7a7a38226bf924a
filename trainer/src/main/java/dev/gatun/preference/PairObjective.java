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
import dev.gatun.op.Gather;
import dev.gatun.op.Preference;
import dev.gatun.op.PreferenceOptions;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One packed batch of pairs, from token ids to accumulated parameter gradients:
 *
 * <pre>
 *   layers -> prediction rows -> per chunk of pairs { logits -> log-probs -> loss -> dLogits -> dHidden, dHead } -> layers backward
 * </pre>
 *
 * A loss that compares the pairs of a micro-batch with each other (aot) needs all log-probabilities
 * first; then, if there is more than one chunk, the logits are made a second time.
 */
public final class PairObjective {
  /** Whether pairs of a micro-batch depend on each other's log-probabilities. */
  public enum Coupling {
    NONE,
    MICRO_BATCH
  }

  /**
   * How the pairs of a batch enter the loss.
   *
   * @param scale {@code [pairs]} weight of each pair's loss
   * @param sftScale {@code [pairs]} weight of each pair's chosen negative log-likelihood
   * @param groupBegin first pair of each micro-batch, and the number of pairs
   */
  public record Weights(float[] scale, float[] sftScale, int[] groupBegin) {}

  private final Backend backend;
  private final Decoder decoder;
  private final LanguageModelHead head;
  private final PreferenceOptions options;
  private final Coupling coupling;
  private final int chunkRows;

  public PairObjective(
      Backend backend,
      Decoder decoder,
      PreferenceOptions options,
      Coupling coupling,
      int chunkRows) {
    this.backend = backend;
    this.decoder = decoder;
    this.head = new LanguageModelHead(backend, decoder);
    this.options = options;
    this.coupling = coupling;
    this.chunkRows = chunkRows;
  }

  /**
   * Adds the gradients of the batch's loss to {@code gradients}.
   *
   * @param reference {@code [predictions]} by answer; null where no reference is scored
   * @param results where the outcome is kept
   */
  public Outcome accumulate(
      DecoderParameters policy,
      DecoderParameters gradients,
      DeviceBatch batch,
      Weights weights,
      @Nullable Tensor reference,
      Activations.Policy keep,
      Slab slab,
      Results results) {
    PackedBatch host = batch.host();
    DType dtype = policy.embedding().dtype();
    BatchShape shape = HeadChunks.shape(host, chunkRows);
    Activations activations = decoder.activations(slab, dtype, keep, shape);
    LanguageModelHead.Outputs outputs = head.allocate(slab, dtype, shape, weighting(options));
    Losses losses =
        new Losses(
            LossTensors.allocate(slab, shape, weighting(options)),
            batch,
            weights,
            outputs,
            reference);

    try (Backend.Range _ = backend.range("forward")) {
      decoder.forward(policy, batch, activations);
      head.forward(policy, decoder, activations, outputs);
    }
    try (Backend.Range _ = backend.range("head")) {
      head(policy, gradients, batch, weights, outputs, losses);
    }
    try (Backend.Range _ = backend.range("backward")) {
      Tensor dStream = head.backward(policy, gradients, outputs);
      decoder.backward(policy, gradients, batch, activations, dStream);
    }
    return losses.outcome(results);
  }

  /** Chunk by chunk, from hidden states to their gradients, and that of the head's weights. */
  private void head(
      DecoderParameters policy,
      DecoderParameters gradients,
      DeviceBatch batch,
      Weights weights,
      LanguageModelHead.Outputs outputs,
      Losses losses) {
    PackedBatch host = batch.host();
    List<HeadChunks.Chunk> chunks = HeadChunks.of(host, chunkRows);
    boolean scoreFirst = coupling == Coupling.MICRO_BATCH && chunks.size() > 1;
    if (scoreFirst) {
      for (HeadChunks.Chunk chunk : chunks) {
        head.logProbs(policy, batch, outputs, chunk.rowBegin(host), chunk.rowEnd(host));
      }
      losses.compute(new HeadChunks.Chunk(0, host.numSequences()), weights.groupBegin());
    }
    for (HeadChunks.Chunk chunk : chunks) {
      int rowBegin = chunk.rowBegin(host);
      int rowEnd = chunk.rowEnd(host);
      if (rowBegin == rowEnd) {
        losses.compute(chunk, new int[] {0, chunk.end() - chunk.begin()});
        continue;
      }
      if (scoreFirst) {
        head.logits(policy, outputs, rowBegin, rowEnd);
      } else {
        head.logProbs(policy, batch, outputs, rowBegin, rowEnd);
        losses.compute(
            chunk,
            coupling == Coupling.MICRO_BATCH
                ? weights.groupBegin()
                : new int[] {0, chunk.end() - chunk.begin()});
      }
      head.backwardChunk(
          policy, gradients, batch, outputs, losses.dLogProbByRow(), rowBegin, rowEnd);
    }
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
      Slab planner,
      ModelTensors model,
      PreferenceOptions options,
      DType dtype,
      Activations.Policy keep,
      BatchShape shape) {
    StepBytes bytes = StepBytes.plan(planner, model, dtype, keep, shape, weighting(options));
    LossTensors.allocate(planner, shape, weighting(options));
    return bytes;
  }

  /** Counts, on a planning slab, what {@link #accumulate} keeps of a batch of this shape. */
  public static void planResults(Slab planner, BatchShape shape) {
    planner.allocate("loss", DType.F32, shape.sequences());
    planner.allocate("sums", DType.F32, shape.sequences(), 4);
    planner.allocate("mean logit", DType.F32, shape.rows());
    planner.allocate("entropy", DType.F32, shape.rows());
    planner.allocate("argmax", DType.I32, shape.rows());
  }

  /**
   * What a batch leaves for the host, to be read with the step's other results. {@code P} pairs,
   * {@code R} prediction rows.
   *
   * @param loss {@code [P]}
   * @param sums {@code [P, 4]}
   * @param mean {@code [R]} mean logit
   * @param entropy {@code [R]}
   * @param argmax {@code [R]}
   */
  public record Outcome(
      PackedBatch batch,
      Results.Kept loss,
      Results.Kept sums,
      Results.Kept mean,
      Results.Kept entropy,
      Results.Kept argmax) {
    /** Statistics per pair, in batch order; the results have been read. */
    public List<PairStatistics> statistics(Results results) {
      float[] losses = results.f32(loss);
      float[] sum = results.f32(sums);
      float[] meanLogit = results.f32(mean);
      float[] entropies = results.f32(entropy);
      int[] likeliest = results.i32(argmax);
      int[] begin = batch.answerBegin();
      int[] row = batch.rowByAnswer();
      int[] byAnswer = batch.byAnswer();
      List<PairStatistics> statistics = new ArrayList<>();
      for (int p = 0; p < losses.length; p++) {
        double[] logits = new double[2];
        double entropySum = 0;
        int correct = 0;
        for (int side = 0; side < 2; side++) {
          for (int n = begin[2 * p + side]; n < begin[2 * p + side + 1]; n++) {
            logits[side] += meanLogit[row[n]];
            entropySum += entropies[row[n]];
            if (side == 0 && likeliest[row[n]] == batch.targets()[byAnswer[n]]) {
              correct++;
            }
          }
        }
        statistics.add(
            new PairStatistics(
                losses[p],
                sum[4 * p],
                sum[4 * p + 1],
                sum[4 * p + 2],
                sum[4 * p + 3],
                begin[2 * p + 1] - begin[2 * p],
                begin[2 * p + 2] - begin[2 * p + 1],
                logits[0],
                logits[1],
                correct,
                entropySum));
      }
      return statistics;
    }
  }

  private static Weighting weighting(PreferenceOptions options) {
    return options.useWeighting() ? Weighting.LOG_SUM_SQUARE : Weighting.NONE;
  }

  /**
   * What the loss kernel reads and writes. {@code P} pairs, {@code N} predictions.
   *
   * @param groupBegin {@code [P + 1]}, as many as there are micro-batches, and one, are used
   * @param sums {@code [P, 4]}
   * @param logProb {@code [N]} by answer
   */
  private record LossTensors(
      Tensor pairScale,
      Tensor sftScale,
      Tensor groupBegin,
      Tensor loss,
      Tensor sums,
      Tensor logProb,
      Tensor dLogProb,
      Tensor dLogProbByRow,
      @Nullable Tensor logSumSquare) {
    static LossTensors allocate(Slab slab, BatchShape shape, Weighting weighting) {
      int pairs = shape.sequences();
      int predictions = shape.predictions();
      return new LossTensors(
          slab.allocate("pair scale", DType.F32, pairs),
          slab.allocate("sft scale", DType.F32, pairs),
          slab.allocate("group begin", DType.I32, pairs + 1L),
          slab.allocate("loss", DType.F32, pairs),
          slab.allocate("sums", DType.F32, pairs, 4),
          slab.allocate("log-probs by answer", DType.F32, predictions),
          slab.allocate("d log-probs by answer", DType.F32, predictions),
          slab.allocate("d log-probs by row", DType.F32, predictions),
          weighting == Weighting.NONE
              ? null
              : slab.allocate("log sum of squares by answer", DType.F32, predictions));
    }
  }

  /** Loss and gradients of one batch, chunk by chunk. */
  private final class Losses {
    private final LossTensors tensors;
    private final DeviceBatch batch;
    private final LanguageModelHead.Outputs outputs;
    private final @Nullable Tensor reference;

    Losses(
        LossTensors tensors,
        DeviceBatch batch,
        Weights weights,
        LanguageModelHead.Outputs outputs,
        @Nullable Tensor reference) {
      this.tensors = tensors;
      this.batch = batch;
      this.outputs = outputs;
      this.reference = reference;
      backend.upload(tensors.pairScale, weights.scale());
      backend.upload(tensors.sftScale, weights.sftScale());
    }

    Tensor dLogProbByRow() {
      return tensors.dLogProbByRow;
    }

    /** Loss and dLogProb of the chunk's pairs, whose log-probabilities by row are known. */
    void compute(HeadChunks.Chunk chunk, int[] groupBegin) {
      try (Backend.Range _ = backend.range("loss")) {
        loss(chunk, groupBegin);
      }
    }

    private void loss(HeadChunks.Chunk chunk, int[] groupBegin) {
      int[] answerBegin = batch.host().answerBegin();
      int first = answerBegin[2 * chunk.begin()];
      int count = answerBegin[2 * chunk.end()] - first;
      int pairs = chunk.end() - chunk.begin();
      reorder(tensors.logProb, outputs.logProb(), batch.byAnswer(), first, count);
      if (tensors.logSumSquare != null && outputs.logSumSquare() != null) {
        reorder(tensors.logSumSquare, outputs.logSumSquare(), batch.rowByAnswer(), first, count);
      }
      Tensor groups = tensors.groupBegin.rows(0, groupBegin.length);
      backend.upload(groups, groupBegin);
      Preference.forward(
          backend,
          tensors.loss.rows(chunk.begin(), pairs),
          tensors.sums.rows(chunk.begin(), pairs),
          tensors.dLogProb,
          tensors.logProb,
          reference,
          tensors.logSumSquare,
          batch.answerBegin().rows(2L * chunk.begin(), 2L * pairs + 1),
          groups,
          tensors.pairScale.rows(chunk.begin(), pairs),
          tensors.sftScale.rows(chunk.begin(), pairs),
          options);
      reorder(tensors.dLogProbByRow, tensors.dLogProb, batch.byRow(), first, count);
    }

    /** y[first + i] = x[index[first + i]] for i below count. */
    private void reorder(Tensor y, Tensor x, Tensor index, int first, int count) {
      if (count > 0) {
        Gather.forward(
            backend,
            y.view(y.name(), first, count, 1),
            x.view(x.name(), 0, x.elementCount(), 1),
            index.rows(first, count));
      }
    }

    Outcome outcome(Results results) {
      return new Outcome(
          batch.host(),
          results.keep(tensors.loss),
          results.keep(tensors.sums),
          results.keep(outputs.mean()),
          results.keep(outputs.entropy()),
          results.keep(outputs.argmax()));
    }
  }
}
