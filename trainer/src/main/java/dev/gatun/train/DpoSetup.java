package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.ParameterLayout;
import dev.gatun.preference.PairObjective;
import dev.gatun.preference.PairObjective.Coupling;
import dev.gatun.report.RunPlan;
import dev.gatun.tensor.DType;
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
      TrainingSetup.Source source = TrainingSetup.Source.open(config.model().modelNameOrPath());
      return of(config, device, source, TrainingData.pairs(config, source));
    } catch (Throwable failure) {
      device.backend().close();
      throw failure;
    }
  }

  /** As above, for a model and rows that are already there, whatever the configuration names. */
  static DpoSetup of(
      DpoConfig config, OpenDevice device, StartModel source, TrainingData<PairTokens> data) {
    Backend backend = device.backend();
    List<PairTokens> pairs = data.rows();
    TrainingSchedule schedule = TrainingSetup.schedule(config.run(), data.lengths());

    Coupling coupling =
        config.loss().lossType().stream().anyMatch(LossType::sortsMicroBatch)
            ? Coupling.MICRO_BATCH
            : Coupling.NONE;
    StepPacker packer =
        new StepPacker(
            pairs,
            TrainingSetup.tokensPerPack(backend, config.run()),
            coupling,
            TrainingSetup.rounding(backend));
    int chunkRows = TrainingSetup.logitRows(backend, source.config());
    Sizes sizes = Sizes.of(schedule, packer, chunkRows);
    BatchShape shape = sizes.batch();
    Decoder decoder = new Decoder(backend, source.config(), data.positions());
    PairObjective objective =
        new PairObjective(backend, decoder, LossOptions.of(config.loss()), coupling, chunkRows);
    Activations.Policy keep =
        config.run().gradientCheckpointing()
            ? Activations.Policy.RECOMPUTE
            : Activations.Policy.KEEP;

    DType dtype = Policy.dtype(config.precision());
    String attention =
        TrainingSetup.planAttention(backend, config.run(), source.config(), dtype, shape);
    Policy policy;
    Reference reference;
    Slab slab;
    Results results;
    try {
      policy =
          new Policy(
              backend,
              source,
              config.precision(),
              config.model().dtype(),
              config.optimizer(),
              config.run().seed(),
              schedule.totalSteps());
      reference =
          config.loss().scoresReference()
              ? Reference.open(config, backend, source, data, policy, decoder, chunkRows, schedule)
              : null;
      Slab planner = Slab.planner();
      DeviceBatch.plan(planner, shape);
      if (reference != null) {
        reference.plan(planner, dtype, shape);
      }
      objective.plan(planner, dtype, keep, shape);
      slab = new Slab(backend.allocate("step", planner.highWaterBytes()));
      results = new Results(backend, sizes.resultBytes());
      TrainingSetup.reserveWorkspace(backend, source.config(), shape);
    } catch (MemoryExhaustedException refused) {
      Slab planner = Slab.planner();
      DeviceBatch.plan(planner, shape);
      objective.plan(planner, dtype, keep, shape);
      throw MemoryPlan.expected(
              ParameterLayout.of(source.config()).elementCount(),
              dtype,
              config.optimizer(),
              config.loss().scoresReference()
                  && (config.model().refModelNameOrPath() != null
                      || !config.loss().precomputeRefLogProbs()),
              planner.highWaterBytes() + sizes.resultBytes())
          .explain(refused);
    }

    List<String> notes = new ArrayList<>();
    notes.addAll(device.notes());
    notes.add(attention);
    notes.addAll(source.config().notes());
    notes.addAll(data.report());
    notes.add("reference: " + (reference == null ? "none" : reference.description()));
    notes.add(
        MemoryPlan.of(
                policy,
                reference == null ? 0 : reference.sizeBytes(),
                slab.buffer().sizeBytes() + results.sizeBytes())
            .describe());
    return new DpoSetup(
        new TrainingSetup(backend, schedule, decoder, policy, config.run()),
        pairs,
        packer,
        objective,
        reference,
        keep,
        shape,
        slab,
        results,
        TrainingSetup.plan(
            config.run(),
            schedule,
            RunPlan.Rows.PAIRS,
            MatmulCeiling.measure(backend, dtype),
            notes));
  }

  /**
   * The largest of all steps.
   *
   * @param resultBytes what the packs of a step leave for the host, together
   */
  private record Sizes(BatchShape batch, long resultBytes) {
    static Sizes of(TrainingSchedule schedule, StepPacker packer, int chunkRows) {
      BatchShape largest = BatchShape.EMPTY;
      Slab results = Slab.planner();
      for (int number = 1; number <= schedule.totalSteps(); number++) {
        results.reset(0);
        for (StepPacker.Pack pack : packer.packs(schedule.step(number).microBatches())) {
          BatchShape shape = PairObjective.shape(packer.batch(pack), chunkRows);
          largest = largest.max(shape);
          Reference.planResults(results, shape);
          PairObjective.planResults(results, shape);
        }
        Policy.planResults(results);
      }
      return new Sizes(largest, results.highWaterBytes());
    }
  }
}
