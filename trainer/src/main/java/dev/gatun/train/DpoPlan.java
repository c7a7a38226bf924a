package dev.gatun.train;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendMemory;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaDevice;
import dev.gatun.data.PairTokens;
import dev.gatun.data.SampleOrder;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.BatchShape;
import dev.gatun.model.ParameterLayout;
import dev.gatun.tensor.DType;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a DPO run would allocate, found without its device and without reading a weight: the same
 * packs are made as in the run, and its allocations are counted.
 *
 * @param model for people
 * @param parameters without padding
 * @param precision storage type of weights and activations
 * @param device that the plan is for, for people
 * @param maxTokensPerPack longest pack that the run would compute
 * @param largest sizes of the largest packs that come of it
 * @param memory of the run
 * @param budget what fits {@link PlanConfig#deviceBytes}; null if that was not asked for
 */
public record DpoPlan(
    String model,
    long parameters,
    ResolvedPrecision precision,
    String device,
    int maxTokensPerPack,
    BatchShape largest,
    MemoryPlan memory,
    @Nullable Budget budget) {

  /**
   * The longest packs that a device has memory for.
   *
   * @param deviceBytes what may be allocated
   * @param maxTokensPerPack 0: not even one pair fits
   * @param memory of a run with packs of that length; if none fits, of one with the shortest
   */
  public record Budget(long deviceBytes, int maxTokensPerPack, MemoryPlan memory) {}

  /** Packs beyond this are no faster on any device. */
  private static final int MOST_TOKENS = 1 << 22;

  /**
   * Plans.
   *
   * @throws dev.gatun.memory.GatunException one line: what is wrong, where, and what to do
   */
  public static DpoPlan of(PlanConfig plan) {
    DpoConfig config = plan.training();
    Hardware hardware = Hardware.of(config.run(), plan.computeCapability());
    ModelConfig model =
        switch (plan.model()) {
          case BenchmarkModel.Directory(Path path) -> ModelConfig.read(path.resolve("config.json"));
          case BenchmarkModel.Shape shape -> shape.config();
        };
    Rows rows = Rows.of(plan, model);
    ResolvedPrecision precision =
        config.precision().on(hardware.fastestOperands(), hardware.title());
    config.optimizer().check(precision);
    Planner planner =
        new Planner(
            config, precision.precision(), model, Reference.model(config, model), rows, hardware);
    int maxTokens = hardware.portion().tokensPerPack(config.run());
    DpoWork work = planner.work(maxTokens);
    return new DpoPlan(
        plan.model().title(),
        ParameterLayout.of(model).parameterCount(),
        precision,
        hardware.description(),
        maxTokens,
        work.shape(),
        planner.memory(work),
        plan.deviceBytes().isPresent() ? planner.budget(plan.deviceBytes().getAsLong()) : null);
  }

  /**
   * The device that is planned for.
   *
   * @param title its kind, for people
   */
  private record Hardware(
      String title,
      String description,
      DType fastestOperands,
      TrainingSetup.Portion portion,
      BackendMemory memory) {
    static Hardware of(RunConfig run, int computeCapability) {
      return switch (run.device().type()) {
        case CPU -> cpu(run, "cpu");
        case CUDA -> gpu(computeCapability, "");
        case AUTO -> {
          try {
            CudaDevice first = CudaBackend.devices(run.cudaHome()).getFirst();
            yield gpu(first.computeCapability(), ", " + first.name());
          } catch (BackendUnavailableException e) {
            yield cpu(run, "cpu: auto found no GPU; device cuda plans for one");
          }
        }
      };
    }

    private static Hardware gpu(int computeCapability, String name) {
      return new Hardware(
          "the GPU",
          "cuda, sm_" + computeCapability + name,
          DType.BF16, // CudaBackend.fastestOperands
          TrainingSetup.Portion.GPU,
          BackendMemory.ofGpu(computeCapability));
    }

    private static Hardware cpu(RunConfig run, String description) {
      try (Backend backend = Device.CPU.open(run.deviceOptions()).backend()) {
        return new Hardware(
            "this CPU",
            description,
            backend.fastestOperands(),
            TrainingSetup.Portion.CPU,
            backend.memory());
      }
    }
  }

  /**
   * The pairs of the run: all of them, or one that all are like.
   *
   * @param positions longest text
   */
  private record Rows(List<PairTokens> pairs, int positions, boolean alike) {
    static Rows of(PlanConfig plan, ModelConfig model) {
      PlanConfig.Lengths lengths = plan.lengths();
      if (lengths == null) {
        try (TrainingSetup.Source source =
            TrainingSetup.Source.open(plan.training().model().modelNameOrPath())) {
          TrainingData<PairTokens> data = TrainingData.pairs(plan.training(), source);
          return new Rows(data.rows(), data.positions(), false);
        }
      }
      int positions = Math.addExact(lengths.promptTokens(), lengths.answerTokens());
      Check.that(
          "prompt_tokens",
          positions <= model.maxPositions(),
          "with answer_tokens " + positions,
          "at most the model's max_position_embeddings, %d".formatted(model.maxPositions()));
      int[] answer = new int[lengths.answerTokens()];
      PairTokens pair = new PairTokens(new int[lengths.promptTokens()], answer, answer, 1);
      return new Rows(List.of(pair), positions, true);
    }

    int longest() {
      return pairs.stream().mapToInt(PairTokens::length).max().orElse(0);
    }
  }

  private record Planner(
      DpoConfig config,
      Precision precision,
      ModelConfig model,
      ModelConfig reference,
      Rows rows,
      Hardware hardware) {
    DpoWork work(int maxTokens) {
      return rows.alike
          ? step(
              config.run().perDeviceTrainBatchSize(),
              config.run().gradientAccumulationSteps(),
              maxTokens)
          : workOf(maxTokens);
    }

    MemoryPlan memory(DpoWork work) {
      return work.memory(
          config,
          model,
          reference,
          Reference.sizeBytes(config, reference, work.dtype(), rows.positions),
          rows.positions,
          hardware.memory);
    }

    /** The longest packs that fit: of whole pairs, where all are alike. */
    Budget budget(long deviceBytes) {
      int unit = rows.alike ? rows.longest() : 1;
      int low = rows.longest() / unit;
      if (!fits(low * unit, deviceBytes)) {
        return new Budget(deviceBytes, 0, memory(filled(low * unit)));
      }
      int high = Math.max(low, (rows.alike ? MOST_TOKENS : longestStep()) / unit);
      if (fits(high * unit, deviceBytes)) {
        low = high;
      }
      while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (fits(middle * unit, deviceBytes)) {
          low = middle;
        } else {
          high = middle;
        }
      }
      return new Budget(deviceBytes, low * unit, memory(filled(low * unit)));
    }

    private boolean fits(int maxTokens, long deviceBytes) {
      return memory(filled(maxTokens)).totalBytes() <= deviceBytes;
    }

    /** Where all pairs are alike, with so many in a micro-batch that they fill a pack. */
    private DpoWork filled(int maxTokens) {
      if (!rows.alike) {
        return workOf(maxTokens);
      }
      int pairs = maxTokens / rows.longest();
      return step(pairs, Math.ceilDiv(config.run().rowsPerStep(), pairs), maxTokens);
    }

    private DpoWork workOf(int maxTokens) {
      int[] lengths = rows.pairs.stream().mapToInt(PairTokens::length).toArray();
      return DpoWork.of(
          config,
          model,
          rows.pairs,
          TrainingSetup.schedule(config.run(), lengths),
          precision,
          maxTokens,
          hardware.portion);
    }

    /** One step of pairs that are alike. */
    private DpoWork step(int microBatch, int accumulation, int maxTokens) {
      int pairs = Math.multiplyExact(microBatch, accumulation);
      int[] lengths = new int[pairs];
      Arrays.fill(lengths, rows.longest());
      SampleOrder order =
          new SampleOrder(SamplingStrategy.SEQUENTIAL, config.run().seed(), lengths, microBatch);
      return DpoWork.of(
          config,
          model,
          Collections.nCopies(pairs, rows.pairs.getFirst()),
          TrainingSchedule.ofSteps(order, microBatch, accumulation, 1),
          precision,
          maxTokens,
          hardware.portion);
    }

    /** Tokens of the step that has most. */
    private int longestStep() {
      return workOf(MOST_TOKENS).shape().tokens();
    }
  }

  /** The plan as one JSON object. */
  public String toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("model", model);
    json.put("parameters", parameters);
    json.put("dtype", precision.precision().toString());
    json.put("device", device);
    json.put("max_tokens_per_pack", maxTokensPerPack);
    ObjectNode pack = json.putObject("largest_pack");
    pack.put("pairs", largest.sequences());
    pack.put("tokens", largest.tokens());
    pack.put("prediction_rows", largest.rows());
    pack.put("logit_rows", largest.chunkRows());
    bytes(json, memory);
    if (budget != null) {
      ObjectNode fitting = json.putObject("budget");
      fitting.put("device_bytes", budget.deviceBytes());
      fitting.put("max_tokens_per_pack", budget.maxTokensPerPack());
      bytes(fitting, budget.memory());
    }
    return json.toString();
  }

  private static void bytes(ObjectNode json, MemoryPlan memory) {
    ObjectNode bytes = json.putObject("bytes");
    memory.lines().forEach(line -> bytes.put(line.name(), line.sizeBytes()));
    json.put("total_bytes", memory.totalBytes());
  }
}
