package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.DeviceBatch;
import dev.gatun.store.AnswerLogProbs;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import java.util.ArrayList;
import java.util.List;

/**
 * Scores the rows of a run with its reference and trains nothing: what {@link DpoTrainer} does
 * before its first step with {@code precompute_ref_log_probs}, in the same packs, so that the run
 * finds all of it in the store.
 */
public final class ReferenceScoring implements AutoCloseable {
  private final Backend backend;
  private final List<PairTokens> pairs;
  private final TrainingSchedule schedule;
  private final StepPacker packer;
  private final ReferenceScores scores;
  private final Reference reference;
  private final Slab slab;
  private final Results results;
  private final List<String> notes;

  /**
   * A row's log-probabilities under the reference.
   *
   * @param row 1-based number of the row in the data
   * @param chosen by answer token
   * @param rejected by answer token
   */
  public record RowScores(long row, float[] chosen, float[] rejected) {}

  private ReferenceScoring(
      Backend backend,
      List<PairTokens> pairs,
      TrainingSchedule schedule,
      StepPacker packer,
      ReferenceScores scores,
      Reference reference,
      Slab slab,
      Results results,
      List<String> notes) {
    this.backend = backend;
    this.pairs = pairs;
    this.schedule = schedule;
    this.packer = packer;
    this.scores = scores;
    this.reference = reference;
    this.slab = slab;
    this.results = results;
    this.notes = notes;
  }

  /**
   * Reads model and data of a run. Its output folder, optimizer and losses are not used.
   *
   * @throws ConfigException if the run scores no reference, or one that changes
   * @throws dev.gatun.memory.GatunException one line: what is wrong, where, and what to do
   */
  public static ReferenceScoring open(DpoConfig config) {
    if (!config.loss().scoresReference() || config.loss().syncRefModel()) {
      throw new ConfigException(
          "loss_type", "this run has no reference that stands still, so there is nothing to score");
    }
    OpenDevice device = config.run().device().open(config.run().deviceOptions());
    try {
      return open(config, device);
    } catch (Throwable failure) {
      device.backend().close();
      throw failure;
    }
  }

  private static ReferenceScoring open(DpoConfig config, OpenDevice device) {
    Backend backend = device.backend();
    ResolvedPrecision precision =
        TrainingSetup.precision(config.precision(), config.optimizer(), backend);
    try (TrainingSetup.Source source =
        TrainingSetup.Source.open(config.model().modelNameOrPath())) {
      TrainingData<PairTokens> data = TrainingData.pairs(config, source);
      TrainingSchedule schedule = TrainingSetup.schedule(config.run(), data.lengths());
      TrainingSetup.Portion portion = TrainingSetup.Portion.of(backend);
      DpoWork work =
          DpoWork.of(
              config,
              source.config(),
              data.rows(),
              schedule,
              precision.precision(),
              portion.tokensPerPack(config.run()),
              portion);
      DType dtype = work.dtype();
      List<String> notes = new ArrayList<>(device.notes());
      notes.add("dtype: " + precision);
      notes.add(
          TrainingSetup.planAttention(backend, config.run(), source.config(), dtype, work.shape()));
      notes.addAll(data.report());

      ReferenceScores scores = Reference.scores(config, backend, data, schedule, work);
      try {
        Reference reference = Reference.alone(config, backend, scores, data.positions(), work);
        notes.addAll(reference.notes());
        ModelConfig model = Reference.model(config, source.config());
        Slab planner = Slab.planner();
        DeviceBatch.plan(planner, work.shape());
        Reference.plan(planner, model, dtype, work.shape());
        Slab slab = new Slab(backend.allocate("step", planner.highWaterBytes()));
        Slab kept = Slab.planner();
        Reference.planResults(kept, work.shape());
        Results results = new Results(backend, kept.highWaterBytes());
        TrainingSetup.reserveWorkspace(backend, model, work.shape());
        return new ReferenceScoring(
            backend, data.rows(), schedule, work.packer(), scores, reference, slab, results, notes);
      } catch (Throwable failure) {
        scores.close();
        throw failure;
      }
    }
  }

  /** Lines for the user: backend, data, reference and store. */
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /** Rows that are not known yet. */
  public long missing() {
    return scores.missing();
  }

  /**
   * Scores what is missing, and stores it.
   *
   * @return all rows of the run, in the order of the data
   * @throws dev.gatun.store.StoreException if scores cannot be stored
   */
  public List<RowScores> score() {
    reference.scoreAll(schedule, packer, slab, results);
    List<RowScores> rows = new ArrayList<>();
    for (int row = 0; row < pairs.size(); row++) {
      AnswerLogProbs found = scores.get(row);
      if (found != null) {
        rows.add(new RowScores(pairs.get(row).row(), found.chosen(), found.rejected()));
      }
    }
    return rows;
  }

  @Override
  public void close() {
    slab.close();
    results.close();
    reference.close();
    backend.close();
  }
}
