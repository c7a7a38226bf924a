package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Numerics;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.ModelTensors;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.WeightFiles;
import dev.gatun.op.Mix;
import dev.gatun.preference.Scorer;
import dev.gatun.store.StoreException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The log-probabilities that the policy is compared with: those of a model that stands still, so
 * each row is scored once and remembered, per token. Rows are scored in the packs they are trained
 * in, by the policy's own kernels, which makes the log-ratios of an unchanged policy exactly zero.
 * If every row is known from the start, there is no model at all. A reference that is mixed with
 * the policy now and then ({@code sync_ref_model}) remembers nothing.
 */
final class Reference implements AutoCloseable {
  private final Backend backend;
  private final String description;
  private final boolean synced;
  private final ReferenceScores scores;
  private final @Nullable Scorer scorer;
  private @Nullable Decoder ownDecoder;
  private @Nullable Parameters ownParameters;
  private @Nullable DecoderParameters weights;
  private final List<Scored> scored = new ArrayList<>();
  private @Nullable String trouble;
  private final BatchShape largest;

  /** Scores of a pack that lie among the results of the step under way. */
  private record Scored(StepPacker.Pack pack, Results.Kept byAnswer) {}

  private Reference(
      Backend backend,
      ReferenceScores scores,
      @Nullable Scorer scorer,
      String description,
      @Nullable DecoderParameters weights,
      LossConfig loss,
      BatchShape largest) {
    this.backend = backend;
    this.scores = scores;
    this.scorer = scorer;
    this.description = description;
    this.weights = weights;
    this.synced = loss.syncRefModel();
    this.largest = largest;
  }

  /** What a reference has scored, or finds in the store that the configuration names. */
  static ReferenceScores scores(
      DpoConfig config,
      Backend backend,
      TrainingData<PairTokens> data,
      TrainingSchedule schedule,
      DpoWork work) {
    ReferenceStoreFolder folder = config.loss().referenceStore();
    boolean stored =
        folder.kind() != ReferenceStoreFolder.Kind.NONE && !config.loss().syncRefModel();
    Path other = config.model().refModelNameOrPath();
    if (!stored && other == null) {
      return ReferenceScores.ofRun(data.rows(), schedule);
    }
    try (ModelDirectory directory = ModelDirectory.open(config.model().reference())) {
      ModelConfig model = config(directory);
      if (other != null) {
        requireVocabulary(other, model, data);
      }
      if (!stored) {
        return ReferenceScores.ofRun(data.rows(), schedule);
      }
      Numerics numerics = backend.numerics(work.dtype());
      List<String> facts =
          List.of(
              "numerics " + Scorer.NUMERICS_VERSION,
              numerics.identity(),
              "precision " + rounding(config, work.dtype()),
              "logits " + work.chunkRows(),
              model.toString(),
              directory.fingerprint());
      return ReferenceScores.stored(folder, facts, numerics, data.rows(), schedule, work.packer());
    }
  }

  private static ModelConfig config(ModelDirectory directory) {
    return ModelConfig.parse(directory.config(), directory.path().resolve("config.json"));
  }

  /**
   * The reference that a configuration names: another model, the policy's own weights while they
   * are still unchanged, or a copy of them; none of these if all scores are known.
   */
  static Reference open(
      DpoConfig config,
      Backend backend,
      ReferenceScores scores,
      Policy policy,
      Decoder decoder,
      int positions,
      DpoWork work) {
    LossConfig loss = config.loss();
    if (scores.missing() == 0) {
      return new Reference(
          backend, scores, null, describe(config, scores), null, loss, work.shape());
    }
    Path other = config.model().refModelNameOrPath();
    ModelConfig model = policy.config();
    Decoder ownDecoder = null;
    Parameters ownParameters = null;
    if (other != null) {
      try (ModelDirectory directory = ModelDirectory.open(other)) {
        model = config(directory);
        ownParameters = read(config, backend, directory, model, policy.parameters().dtype());
      }
      ownDecoder = new Decoder(backend, model, positions);
    } else if (!loss.precomputeRefLogProbs()) {
      ownParameters = copy(backend, policy.parameters());
    }
    Reference reference =
        new Reference(
            backend,
            scores,
            new Scorer(backend, ownDecoder == null ? decoder : ownDecoder, work.chunkRows()),
            describe(config, scores),
            ownParameters == null ? policy.weights() : DecoderParameters.of(ownParameters, model),
            loss,
            work.shape());
    reference.ownDecoder = ownDecoder;
    reference.ownParameters = ownParameters;
    return reference;
  }

  /** A reference that scores where no policy is trained. */
  static Reference alone(
      DpoConfig config, Backend backend, ReferenceScores scores, int positions, DpoWork work) {
    if (scores.missing() == 0) {
      return new Reference(
          backend, scores, null, describe(config, scores), null, config.loss(), work.shape());
    }
    try (ModelDirectory directory = ModelDirectory.open(config.model().reference())) {
      ModelConfig model = config(directory);
      Decoder decoder = new Decoder(backend, model, positions);
      Parameters parameters = read(config, backend, directory, model, work.dtype());
      Reference reference =
          new Reference(
              backend,
              scores,
              new Scorer(backend, decoder, work.chunkRows()),
              describe(config, scores),
              DecoderParameters.of(parameters, model),
              config.loss(),
              work.shape());
      reference.ownDecoder = decoder;
      reference.ownParameters = parameters;
      return reference;
    }
  }

  private static Parameters read(
      DpoConfig config, Backend backend, ModelDirectory directory, ModelConfig model, DType dtype) {
    Parameters parameters = new Parameters(backend, "reference", ParameterLayout.of(model), dtype);
    WeightFiles.read(backend, directory, parameters, ties(config));
    return parameters;
  }

  /** As the policy's bf16 weights are rounded, so that the same files give both the same bits. */
  private static WeightFiles.Ties ties(DpoConfig config) {
    return config.optimizer().bf16StochasticRound()
        ? WeightFiles.Ties.TO_EVEN
        : WeightFiles.Ties.AWAY_FROM_ZERO;
  }

  /** What a weight's bits depend on besides its file. */
  private static String rounding(DpoConfig config, DType dtype) {
    return dtype == DType.BF16 ? "bfloat16, ties " + ties(config) : "float32";
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
   * @param dtype of its weights
   * @param positions longest text
   */
  static long sizeBytes(DpoConfig config, ModelConfig model, DType dtype, int positions) {
    boolean another = config.model().refModelNameOrPath() != null;
    if (!config.loss().scoresReference() || (!another && config.loss().precomputeRefLogProbs())) {
      return 0;
    }
    long weights = ParameterLayout.of(model).elementCount() * dtype.sizeBytes();
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

  private static String describe(DpoConfig config, ReferenceScores scores) {
    LossConfig loss = config.loss();
    String how;
    if (loss.syncRefModel()) {
      how =
          "mixed with the policy every %d steps (%s of it)"
              .formatted(loss.refModelSyncSteps(), loss.refModelMixupAlpha());
    } else if (scores.missing() == 0) {
      how = "every row is known: nothing is scored and no weights are kept";
    } else if (loss.precomputeRefLogProbs()) {
      how = "scored once before training";
    } else {
      how = "resident, each row scored once";
    }
    boolean own = config.model().refModelNameOrPath() != null;
    return "%s (%s), %s"
        .formatted(own ? "another model" : "the start model", config.model().reference(), how);
  }

  /** One line that names where the scores come from, and one about the store if there is any. */
  List<String> notes() {
    List<String> notes = new ArrayList<>();
    notes.add("reference: " + description);
    notes.addAll(scores.notes());
    return notes;
  }

  /** Whether scores of an earlier run are used. */
  boolean usesStored() {
    return scores.anyStored();
  }

  /** What went wrong with the store since this was last asked, as a line for the user, or null. */
  @Nullable String trouble() {
    String line = trouble;
    trouble = null;
    return line;
  }

  /**
   * Scores every row that the schedule trains on, before the policy changes.
   *
   * @throws StoreException if scores cannot be stored
   */
  void scoreAll(TrainingSchedule schedule, StepPacker packer, Slab slab, Results results) {
    for (int number = 1; scores.missing() > 0 && number <= schedule.totalSteps(); number++) {
      for (StepPacker.Pack pack : packer.packs(schedule.step(number).microBatches())) {
        if (!scores.isKnown(pack)) {
          slab.reset(0);
          results.clear();
          DeviceBatch batch = DeviceBatch.upload(backend, slab, packer.batch(pack), largest);
          logProbs(pack, batch, slab, results);
          results.read();
          store(results);
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
    if (scores.isKnown(pack)) {
      backend.upload(byAnswer, scores.of(pack, batch.host().numPredictions()));
      return byAnswer;
    }
    DecoderParameters source = weights;
    if (source == null || scorer == null) {
      throw new IllegalStateException("a row is scored after the reference was released");
    }
    try (Backend.Range _ = backend.range("reference")) {
      scorer.score(source, batch, slab, byAnswer);
    }
    if (!synced) {
      scored.add(new Scored(pack, results.keep(byAnswer)));
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

  /**
   * Takes the scores of this step's packs, now that the results have been read. A store that fails
   * costs the run nothing but what it would have kept; see {@link #trouble}.
   */
  void remember(Results results) {
    try {
      store(results);
    } catch (StoreException e) {
      scores.close();
      trouble = "warning: scores are not kept from here on: " + e.getMessage();
      store(results);
    }
  }

  private void store(Results results) {
    while (!scored.isEmpty()) {
      Scored first = scored.removeFirst();
      scores.put(first.pack(), results.f32(first.byAnswer()));
    }
  }

  /** reference = (1 - alpha) reference + alpha policy, after every so many steps. */
  void afterStep(long step, LossConfig loss, Parameters policy) {
    Parameters parameters = ownParameters;
    if (synced && parameters != null && step % loss.refModelSyncSteps() == 0) {
      Mix.apply(backend, parameters.all(), policy.all(), loss.refModelMixupAlpha());
    }
    if (!synced && scores.missing() == 0) {
      release();
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
    scores.close();
  }
}
