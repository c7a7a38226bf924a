package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.SftTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchRounding;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.Flops;
import dev.gatun.model.ModelTensors;
import dev.gatun.model.PackedBatch;
import dev.gatun.preference.LikelihoodObjective;
import dev.gatun.preference.LikelihoodObjective.Statistics;
import dev.gatun.preference.StepBytes;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunPlan;
import dev.gatun.report.RunSummary;
import dev.gatun.report.StepMetrics;
import dev.gatun.report.StepWork;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Trains a model to imitate texts or answers: the step before preference training. As TRL's
 * SFTTrainer, the loss is the mean over all predicted tokens of an optimizer step, however it is
 * cut into micro-batches.
 */
public final class SftTrainer implements AutoCloseable {
  private final List<MetricsListener> listeners;
  private final TrainingSetup setup;
  private final List<SftTokens> rows;
  private final int maxTokens;
  private final LikelihoodObjective objective;
  private final Activations.Policy keep;
  private final BatchShape largest;
  private final BatchRounding rounding;
  private final Slab slab;
  private final Results results;
  private final RunPlan plan;
  private long tokensSeen;

  private SftTrainer(SftConfig config, List<MetricsListener> listeners, OpenDevice device) {
    Backend backend = device.backend();
    this.listeners = listeners;
    ResolvedPrecision precision =
        TrainingSetup.precision(config.precision(), config.optimizer(), backend);
    DType dtype = Policy.dtype(precision.precision());
    TrainingSetup.Source source = TrainingSetup.Source.open(config.model().modelNameOrPath());
    TrainingData<SftTokens> data = TrainingData.texts(config, source);
    rows = data.rows();
    TrainingSchedule schedule = TrainingSetup.schedule(config.run(), data.lengths());
    TrainingSetup.Portion portion = TrainingSetup.Portion.of(backend);
    maxTokens = portion.tokensPerPack(config.run());
    rounding = portion.rounding();
    int chunkRows = portion.logitRows(source.config());
    BatchShape shape = BatchShape.EMPTY;
    Slab resultsPlanner = Slab.planner();
    for (int number = 1; number <= schedule.totalSteps(); number++) {
      resultsPlanner.reset(0);
      for (PackedBatch batch : packs(schedule.step(number))) {
        BatchShape of = LikelihoodObjective.shape(batch, chunkRows);
        shape = shape.max(of);
        LikelihoodObjective.planResults(resultsPlanner, of);
      }
      Policy.planResults(resultsPlanner);
    }
    largest = shape;
    keep = DpoWork.keep(config.run());
    String attention =
        TrainingSetup.planAttention(backend, config.run(), source.config(), dtype, shape);
    double peakFlopsPerSecond = MatmulCeiling.measure(backend, dtype);
    Slab planner = Slab.planner();
    DeviceBatch.plan(planner, shape);
    StepBytes bytes =
        LikelihoodObjective.plan(planner, new ModelTensors(source.config()), dtype, keep, shape);
    MemoryPlan.Step step =
        new MemoryPlan.Step(
            planner.highWaterBytes(),
            bytes.activations(),
            bytes.logits(),
            resultsPlanner.highWaterBytes());
    MemoryPlan memory =
        MemoryPlan.of(
            source.config(),
            dtype,
            config.optimizer(),
            0,
            data.positions(),
            shape,
            step,
            backend.memory());
    Decoder decoder;
    Policy policy;
    try {
      decoder = new Decoder(backend, source.config(), data.positions());
      policy =
          new Policy(
              backend,
              source,
              precision.precision(),
              config.model().saved(),
              config.optimizer(),
              config.run().seed(),
              schedule.totalSteps());
      slab = new Slab(backend.allocate("step", step.slabBytes()));
      results = new Results(backend, step.results());
      TrainingSetup.reserveWorkspace(backend, source.config(), shape);
    } catch (MemoryExhaustedException refused) {
      throw memory.explain(refused);
    }
    objective = new LikelihoodObjective(backend, decoder, chunkRows);
    setup = new TrainingSetup(backend, schedule, decoder, policy, config.run());

    List<String> notes = new ArrayList<>();
    notes.addAll(device.notes());
    notes.add(TrainingSetup.describe(precision, config.optimizer()));
    notes.add(attention);
    notes.addAll(source.config().notes());
    notes.addAll(data.report());
    notes.add(memory.describe());
    plan =
        TrainingSetup.plan(
            config.run(),
            schedule,
            RunPlan.Rows.SAMPLES,
            precision.precision(),
            peakFlopsPerSecond,
            notes);
  }

  /**
   * Reads model and data, and allocates everything that training needs.
   *
   * @throws dev.gatun.memory.GatunException one line: what is wrong, where, and what to do
   */
  public static SftTrainer create(SftConfig config, List<MetricsListener> listeners) {
    OpenDevice device = config.run().device().open(config.run().deviceOptions());
    try {
      return new SftTrainer(config, listeners, device);
    } catch (Throwable failure) {
      device.backend().close();
      throw failure;
    }
  }

  /** What the run is about to do. */
  public RunPlan plan() {
    return plan;
  }

  /** Runs all steps and writes the model to the output directory. */
  public RunSummary train() {
    return setup.loop(plan, listeners).run(this::step);
  }

  /** Finishes the step under way, then stops and writes the model. Callable from any thread. */
  public void interrupt() {
    setup.interrupt();
  }

  /** Writes the model as it is now to a model directory. */
  public void save(Path output) {
    setup.policy().save(output);
  }

  /**
   * One optimizer step: gradients of all its packs, then one update. The host reads what came of it
   * once, before the update.
   */
  private StepMetrics step(TrainingSchedule.Step step) {
    long begin = System.nanoTime();
    Policy policy = setup.policy();
    List<PackedBatch> packs = packs(step);
    long predictions = packs.stream().mapToLong(PackedBatch::numPredictions).sum();
    List<LikelihoodObjective.Outcome> outcomes = new ArrayList<>();
    double flops = 0;

    results.clear();
    policy.zeroGradients();
    for (PackedBatch packed : packs) {
      slab.reset(0);
      DeviceBatch batch = DeviceBatch.upload(setup.backend(), slab, packed, largest);
      outcomes.add(
          objective.accumulate(
              policy.weights(),
              policy.gradients(),
              batch,
              (float) (1.0 / predictions),
              keep,
              slab,
              results));
      flops += Flops.forward(policy.config(), packed).training();
    }
    Results.Kept normAndScale = results.keep(policy.gradientNorm());
    results.read();

    Statistics statistics = Statistics.NONE;
    for (LikelihoodObjective.Outcome outcome : outcomes) {
      statistics = statistics.plus(outcome.statistics(results));
    }
    double loss = -statistics.logProb() / predictions;
    if (!Double.isFinite(loss)) {
      throw new TrainingException(
          "step %d: loss is %s; lower learning_rate or look at the data of this step"
              .formatted(step.number(), loss));
    }
    double norm = results.f32(normAndScale)[0];
    policy.update(step.number(), norm);

    long tokens = packs.stream().mapToLong(PackedBatch::numSequenceTokens).sum();
    tokensSeen += tokens;
    Map<MetricName, Double> values = new EnumMap<>(MetricName.class);
    values.put(MetricName.LOSS, loss);
    values.put(MetricName.GRAD_NORM, norm);
    values.put(MetricName.LEARNING_RATE, policy.learningRate(step.number()));
    values.put(MetricName.ENTROPY, statistics.entropy() / predictions);
    values.put(MetricName.NUM_TOKENS, (double) tokensSeen);
    values.put(MetricName.MEAN_TOKEN_ACCURACY, (double) statistics.correct() / predictions);
    values.put(MetricName.EPOCH, step.epochsDone());
    return new StepMetrics(
        step.number(),
        step.microBatches().size(),
        values,
        new StepWork(
            step.microBatches().stream().mapToInt(microBatch -> microBatch.length).sum(),
            tokens,
            paddedTokens(step),
            packs.stream().mapToLong(PackedBatch::numTokens).sum(),
            flops,
            System.nanoTime() - begin));
  }

  /** The rows of a step, packed by length across its micro-batches. */
  private List<PackedBatch> packs(TrainingSchedule.Step step) {
    List<PackedBatch.Sequence> sequences = new ArrayList<>();
    for (int[] microBatch : step.microBatches()) {
      for (int row : microBatch) {
        SftTokens text = rows.get(row);
        sequences.add(new PackedBatch.Sequence(text.prompt(), List.of(text.completion())));
      }
    }
    return FirstFit.pack(sequences, PackedBatch.Sequence::numTokens, maxTokens).stream()
        .map(PackedBatch::of)
        .map(rounding::apply)
        .toList();
  }

  private long paddedTokens(TrainingSchedule.Step step) {
    long tokens = 0;
    for (int[] microBatch : step.microBatches()) {
      int longest = 0;
      for (int row : microBatch) {
        longest = Math.max(longest, rows.get(row).length());
      }
      tokens += (long) microBatch.length * longest;
    }
    return tokens;
  }

  /** Frees everything. */
  @Override
  public void close() {
    slab.close();
    results.close();
    setup.close();
  }
}
