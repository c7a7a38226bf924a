package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.preference.PairObjective;
import dev.gatun.report.RunPlan;
import dev.gatun.tensor.Slab;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Opens, checks and sizes everything a DPO run needs, in the order in which mistakes are cheapest.
 */
record DpoSetup(
    TrainingSetup setup,
    List<PairTokens> pairs,
    StepPacker packer,
    PairObjective objective,
    @Nullable Reference reference,
    Activations.Policy keep,
    BatchShape shape,
    Slab slab,
    Results results,
    RunPlan plan) {
  static DpoSetup of(DpoConfig config) {
    OpenDevice device = config.run().device().open(config.run().deviceOptions());
    try {
      ResolvedPrecision precision =
          TrainingSetup.precision(config.precision(), config.optimizer(), device.backend());
      TrainingSetup.Source source = TrainingSetup.Source.open(config.model().modelNameOrPath());
      return of(config, device, precision, source, TrainingData.pairs(config, source));
    } catch (Throwable failure) {
      device.backend().close();
      throw failure;
    }
  }

  /** As above, for a model and rows that are already there, whatever the configuration names. */
  static DpoSetup of(
      DpoConfig config,
      OpenDevice device,
      ResolvedPrecision precision,
      StartModel source,
      TrainingData<PairTokens> data) {
    Backend backend = device.backend();
    TrainingSetup.Portion portion = TrainingSetup.Portion.of(backend);
    TrainingSchedule schedule = TrainingSetup.schedule(config.run(), data.lengths());
    DpoWork work =
        DpoWork.of(
            config,
            source.config(),
            data.rows(),
            schedule,
            precision.precision(),
            portion.tokensPerPack(config.run()),
            portion);
    List<String> chosen =
        List.of(
            TrainingSetup.describe(precision, config.optimizer()),
            TrainingSetup.planAttention(
                backend, config.run(), source.config(), work.dtype(), work.shape()));
    ReferenceScores scores =
        config.loss().scoresReference()
            ? Reference.scores(config, backend, data, schedule, work)
            : null;
    try {
      return of(config, device, source, data, schedule, work, chosen, scores);
    } catch (Throwable failure) {
      if (scores != null) {
        scores.close();
      }
      throw failure;
    }
  }

  /** The rest, once the reference's scores are known; they are the caller's to close on failure. */
  private static DpoSetup of(
      DpoConfig config,
      OpenDevice device,
      StartModel source,
      TrainingData<PairTokens> data,
      TrainingSchedule schedule,
      DpoWork work,
      List<String> chosen,
      @Nullable ReferenceScores scores) {
    Backend backend = device.backend();
    ModelConfig referenceModel = Reference.model(config, source.config());
    BatchShape shape = work.shape();
    MemoryPlan memory =
        work.memory(
            config,
            source.config(),
            referenceModel,
            scores == null || scores.missing() == 0
                ? 0
                : Reference.sizeBytes(config, referenceModel, work.dtype(), data.positions()),
            data.positions(),
            backend.memory());
    double peakFlopsPerSecond = MatmulCeiling.measure(backend, work.dtype());
    Decoder decoder;
    Policy policy;
    Reference reference;
    Slab slab;
    Results results;
    try {
      decoder = new Decoder(backend, source.config(), data.positions());
      policy =
          new Policy(
              backend,
              source,
              work.precision(),
              config.model().saved(),
              config.optimizer(),
              config.run().seed(),
              schedule.totalSteps());
      reference =
          scores == null
              ? null
              : Reference.open(config, backend, scores, policy, decoder, data.positions(), work);
      MemoryPlan.Step step = work.step(config, source.config(), referenceModel);
      slab = new Slab(backend.allocate("step", step.slabBytes()));
      results = new Results(backend, step.results());
      TrainingSetup.reserveWorkspace(backend, source.config(), shape);
    } catch (MemoryExhaustedException refused) {
      throw memory.explain(refused);
    }
    PairObjective objective =
        new PairObjective(
            backend, decoder, LossOptions.of(config.loss()), work.coupling(), work.chunkRows());

    List<String> notes = new ArrayList<>();
    notes.addAll(device.notes());
    notes.addAll(chosen);
    notes.addAll(source.config().notes());
    notes.addAll(data.report());
    notes.addAll(reference == null ? List.of("reference: none") : reference.notes());
    notes.add(memory.describe());
    return new DpoSetup(
        new TrainingSetup(backend, schedule, decoder, policy, config.run()),
        data.rows(),
        work.packer(),
        objective,
        reference,
        DpoWork.keep(config.run()),
        shape,
        slab,
        results,
        TrainingSetup.plan(
            config.run(),
            schedule,
            RunPlan.Rows.PAIRS,
            work.precision(),
            peakFlopsPerSecond,
            notes));
  }
}
