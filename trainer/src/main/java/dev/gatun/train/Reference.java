package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.ModelTensors;
import dev.gatun.model.PackedBatch;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.WeightFiles;
import dev.gatun.op.Mix;
import dev.gatun.preference.Scorer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The log-probabilities that the policy is compared with: those of a model that stands still, so
 * each row is scored once and remembered, in memory, per token. Rows are scored in the packs they
 * are trained in, by the policy's own kernels, which makes the log-ratios of an unchanged policy
 * exactly zero. A reference that is mixed with the policy now and then ({@code sync_ref_model})
 * remembers nothing.
 */
final class Reference implements AutoCloseable {
  private final Backend backend;
  private final String description;
  private final boolean synced;
  private final float[][] scores;
  private final Scorer scorer;
  private @Nullable Decoder ownDecoder;
  private @Nullable Parameters ownParameters;
  private @Nullable DecoderParameters weights;
  private final List<Scored> scored = new ArrayList<>();
  private long rowsLeft;
  private final BatchShape largest;

  /** Scores of a pack that lie among the results of the step under way. */
  private record Scored(StepPacker.Pack pack, PackedBatch batch, Results.Kept byAnswer) {}

  private Reference(
      Backend backend,
      Scorer scorer,
      String description,
      DecoderParameters weights,
      LossConfig loss,
      BatchShape largest,
      int rows,
      long rowsUsed) {
    this.backend = backend;
    this.scorer = scorer;
    this.description = description;
    this.weights = weights;
    this.synced = loss.syncRefModel();
    this.largest = largest;
    this.scores = new float[rows][];
    this.rowsLeft = rowsUsed;
  }

  /**
   * The reference that a configuration names: another model, the policy's own weights while they
   * are still unchanged, or a copy of them.
   */
  static Reference open(
      DpoConfig config,
      Backend backend,
      StartModel source,
      TrainingData<PairTokens> data,
      Policy policy,
      Decoder decoder,
      DpoWork work,
      TrainingSchedule schedule) {
    LossConfig loss = config.loss();
    Path other = config.model().refModelNameOrPath();
    ModelConfig model = source.config();
    Decoder ownDecoder = null;
    Parameters ownParameters = null;
    if (other != null) {
      try (TrainingSetup.Source otherSource = TrainingSetup.Source.open(other)) {
        model = otherSource.config();
        requireVocabulary(other, model, data);
        ownParameters =
            new Parameters(
                backend, "reference", ParameterLayout.of(model), policy.parameters().dtype());
        WeightFiles.read(backend, otherSource.directory(), ownParameters);
      }
      ownDecoder = new Decoder(backend, model, data.positions());
    } else if (!loss.precomputeRefLogProbs()) {
      ownParameters = copy(backend, policy.parameters());
    }
    Reference reference =
        new Reference(
            backend,
            new Scorer(backend, ownDecoder == null ? decoder : ownDecoder, work.chunkRows()),
            describe(config),
            ownParameters == null ? policy.weights() : DecoderParameters.of(ownParameters, model),
            loss,
            work.shape(),
            data.rows().size(),
            schedule.rowsUsed());
    reference.ownDecoder = ownDecoder;
    reference.ownParameters = ownParameters;
    return reference;
  }

  /** The model of the reference. */
  static ModelConfig model(DpoConfig config, ModelConfig policy) {
    Path other = config.model().refModelNameOrPath();
    return other == null ? policy : ModelConfig.read(other.resolve("config.json"));
  }

  /**
   * Bytes that the reference keeps besides the policy's, until its last row is scored.
   *
   * @param model its model
   * @param positions longest text
   */
  static long sizeBytes(DpoConfig config, ModelConfig model, int positions) {
    boolean another = config.model().refModelNameOrPath() != null;
    if (!config.loss().scoresReference() || (!another && config.loss().precomputeRefLogProbs())) {
      return 0;
    }
    long weights =
        ParameterLayout.of(model).elementCount() * Policy.dtype(config.precision()).sizeBytes();
    return another ? weights + Decoder.sizeBytes(model, positions) : weights;
  }

  private static void requireVocabulary(
      Path path, ModelConfig model, TrainingData<PairTokens> data) {
    int largest = 0;
    for (PairTokens pair : data.rows()) {
      for (int[] ids : List.of(pair.prompt(), pair.chosen(), pair.rejected())) {
        for (int id : ids) {
          largest = Math.max(largest, id);
        }
      }
    }
    if (largest >= model.vocabSize()) {
      throw new ConfigException(
          "ref_model_name_or_path",
          "%s has %d tokens, the data uses token %d; use a reference with the policy's tokenizer"
              .formatted(path, model.vocabSize(), largest));
    }
  }

  private static String describe(DpoConfig config) {
    LossConfig loss = config.loss();
    String how;
    if (loss.syncRefModel()) {
      how =
          "mixed with the policy every %d steps (%s of it)"
              .formatted(loss.refModelSyncSteps(), loss.refModelMixupAlpha());
    } else if (loss.precomputeRefLogProbs()) {
      how = "scored once before training";
    } else {
      how = "resident, each row scored once";
    }
    boolean own = config.model().refModelNameOrPath() != null;
    return "%s (%s), %s"
        .formatted(own ? "another model" : "the start model", config.model().reference(), how);
  }

  /** One line that names where the scores come from. */
  String description() {
    return description;
  }

  /** Scores every row that the schedule trains on, before the policy changes. */
  void scoreAll(TrainingSchedule schedule, StepPacker packer, Slab slab, Results results) {
    for (int number = 1; rowsLeft > 0 && number <= schedule.totalSteps(); number++) {
      for (StepPacker.Pack pack : packer.packs(schedule.step(number).microBatches())) {
        if (!isKnown(pack)) {
          slab.reset(0);
          results.clear();
          DeviceBatch batch = DeviceBatch.upload(backend, slab, packer.batch(pack), largest);
          logProbs(pack, batch, slab, results);
          results.read();
          remember(results);
        }
      }
    }
    release();
  }

  /**
   * Log-probabilities of the pack's predictions, by answer; scored now unless known.
   *
   * @param results where scores are kept until {@link #remember}
   */
  Tensor logProbs(StepPacker.Pack pack, DeviceBatch batch, Slab slab, Results results) {
    Tensor byAnswer =
        slab.allocate("reference log-probs", DType.F32, largest.predictions())
            .rows(0, batch.host().numPredictions());
    if (isKnown(pack)) {
      float[] values = new float[batch.host().numPredictions()];
      int next = 0;
      for (int row : pack.rows()) {
        System.arraycopy(scores[row], 0, values, next, scores[row].length);
        next += scores[row].length;
      }
      backend.upload(byAnswer, values);
      return byAnswer;
    }
    DecoderParameters source = weights;
    if (source == null) {
      throw new IllegalStateException("a row is scored after the reference was released");
    }
    try (Backend.Range _ = backend.range("reference")) {
      scorer.score(source, batch, slab, byAnswer);
    }
    if (!synced) {
      scored.add(new Scored(pack, batch.host(), results.keep(byAnswer)));
    }
    return byAnswer;
  }

  /**
   * Counts, on a planning slab, what {@link #logProbs} takes.
   *
   * @param model of the reference
   */
  static void plan(Slab planner, ModelConfig model, DType dtype, BatchShape shape) {
    planner.allocate("reference log-probs", DType.F32, shape.predictions());
    Scorer.plan(planner, new ModelTensors(model), dtype, shape);
  }

  /** Counts, on a planning slab, what {@link #logProbs} keeps of a batch of this shape. */
  static void planResults(Slab planner, BatchShape shape) {
    planner.allocate("reference log-probs", DType.F32, shape.predictions());
  }

  /** Takes the scores of this step's packs, now that the results have been read. */
  void remember(Results results) {
    for (Scored scores : scored) {
      remember(scores.pack(), scores.batch(), results.f32(scores.byAnswer()));
    }
    scored.clear();
  }

  /** reference = (1 - alpha) reference + alpha policy, after every so many steps. */
  void afterStep(long step, LossConfig loss, Parameters policy) {
    Parameters parameters = ownParameters;
    if (synced && parameters != null && step % loss.refModelSyncSteps() == 0) {
      Mix.apply(backend, parameters.all(), policy.all(), loss.refModelMixupAlpha());
    }
    if (!synced && rowsLeft == 0) {
      release();
    }
  }

  private boolean isKnown(StepPacker.Pack pack) {
    return pack.rows().stream().allMatch(row -> scores[row] != null);
  }

  private void remember(StepPacker.Pack pack, PackedBatch batch, float[] byAnswer) {
    int next = 0;
    for (int i = 0; i < pack.rows().size(); i++) {
      int row = pack.rows().get(i);
      int count = batch.predictionsOf(i);
      if (scores[row] == null) {
        scores[row] = Arrays.copyOfRange(byAnswer, next, next + count);
        rowsLeft--;
      }
      next += count;
    }
  }

  /** Nothing is left to score: the weights are not needed any more. */
  private void release() {
    weights = null;
    if (ownParameters != null) {
      ownParameters.close();
      ownParameters = null;
    }
    if (ownDecoder != null) {
      ownDecoder.close();
      ownDecoder = null;
    }
  }

  /** A copy of a slab, for a reference that starts as the policy. */
  private static Parameters copy(Backend backend, Parameters policy) {
    Parameters copy = new Parameters(backend, "reference", policy.layout(), policy.dtype());
    backend.copy(copy.all(), policy.all());
    return copy;
  }

  @Override
  public void close() {
    release();
  }
}
