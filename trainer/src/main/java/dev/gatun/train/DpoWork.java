package dev.gatun.train;

import dev.gatun.backend.BackendMemory;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.ModelTensors;
import dev.gatun.preference.PairObjective;
import dev.gatun.preference.PairObjective.Coupling;
import dev.gatun.preference.StepBytes;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import java.util.List;

/**
 * How the pairs of a run are packed, and what that takes: found by packing every step once, so that
 * no step can ask for more than was allocated before the first.
 *
 * @param precision storage type of weights and activations
 * @param chunkRows prediction rows that the head makes logits for at a time
 * @param shape large enough for every pack
 * @param resultBytes most that the packs of a step leave for the host, together
 */
record DpoWork(
    StepPacker packer,
    Coupling coupling,
    Precision precision,
    int chunkRows,
    BatchShape shape,
    long resultBytes) {

  /** Packs every step of a run in portions that suit a kind of device. */
  static DpoWork of(
      DpoConfig config,
      ModelConfig model,
      List<PairTokens> pairs,
      TrainingSchedule schedule,
      Precision precision,
      int maxTokens,
      TrainingSetup.Portion portion) {
    Coupling coupling =
        config.loss().lossType().stream().anyMatch(LossType::sortsMicroBatch)
            ? Coupling.MICRO_BATCH
            : Coupling.NONE;
    StepPacker packer = new StepPacker(pairs, maxTokens, coupling, portion.rounding());
    int chunkRows = portion.logitRows(model);
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
    return new DpoWork(packer, coupling, precision, chunkRows, largest, results.highWaterBytes());
  }

  /** {@link #precision} of tensors. */
  DType dtype() {
    return Policy.dtype(precision);
  }

  /**
   * All that the run allocates.
   *
   * @param reference model of the reference: the policy's, unless it is another
   * @param referenceBytes what it keeps besides the policy's weights
   * @param positions longest text
   */
  MemoryPlan memory(
      DpoConfig config,
      ModelConfig model,
      ModelConfig reference,
      long referenceBytes,
      int positions,
      BackendMemory backend) {
    return MemoryPlan.of(
        model,
        dtype(),
        config.optimizer(),
        referenceBytes,
        positions,
        shape,
        step(config, model, reference),
        backend);
  }

  /** What a step allocates. */
  MemoryPlan.Step step(DpoConfig config, ModelConfig model, ModelConfig reference) {
    DType dtype = dtype();
    Slab planner = Slab.planner();
    DeviceBatch.plan(planner, shape);
    if (config.loss().scoresReference()) {
      Reference.plan(planner, reference, dtype, shape);
    }
    StepBytes bytes =
        PairObjective.plan(
            planner,
            new ModelTensors(model),
            LossOptions.of(config.loss()),
            dtype,
            keep(config.run()),
            shape);
    return new MemoryPlan.Step(
        planner.highWaterBytes(), bytes.activations(), bytes.logits(), resultBytes);
  }

  /** What the forward pass keeps. */
  static Activations.Policy keep(RunConfig run) {
    return run.gradientCheckpointing() ? Activations.Policy.RECOMPUTE : Activations.Policy.KEEP;
  }
}
