package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.Results;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.Flops;
import dev.gatun.model.PackedBatch;
import dev.gatun.preference.PairObjective;
import dev.gatun.preference.PairStatistics;
import dev.gatun.report.MetricName;
import dev.gatun.report.MetricsListener;
import dev.gatun.report.RunPlan;
import dev.gatun.report.RunSummary;
import dev.gatun.report.StepMetrics;
import dev.gatun.report.StepWork;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Trains a policy from preference pairs. {@link #create} reads model and data; {@link #train} runs
 * the schedule and writes the model:
 *
 * <pre>{@code
 * try (DpoTrainer trainer = DpoTrainer.create(config, List.of(listener))) {
 *   trainer.train();
 * }
 * }</pre>
 */
public final class DpoTrainer implements AutoCloseable {
  private final DpoConfig config;
  private final List<MetricsListener> listeners;
  private final TrainingSetup setup;
  private final List<PairTokens> pairs;
  private final StepPacker packer;
  private final PairObjective objective;
  private final @Nullable Reference reference;
  private final Activations.Policy keep;
  private final BatchShape largest;
  private final Slab slab;
  private final Results results;
  private final RunPlan plan;
  private long tokensSeen;

  private DpoTrainer(DpoConfig config, List<MetricsListener> listeners, DpoSetup parts) {
    this.config = config;
    this.listeners = listeners;
    this.setup = parts.setup();
    this.pairs = parts.pairs();
    this.packer = parts.packer();
    this.objective = parts.objective();
    this.reference = parts.reference();
    this.keep = parts.keep();
    this.largest = parts.shape();
    this.slab = parts.slab();
    this.results = parts.results();
    this.plan = parts.plan();
  }

  /**
   * Reads model, reference and data, and allocates everything that training needs.
   *
   * @throws dev.gatun.memory.GatunException one line: what is wrong, where, and what to do
   */
  public static DpoTrainer create(DpoConfig config, List<MetricsListener> listeners) {
    return of(config, listeners, DpoSetup.of(config));
  }

  /** A trainer of parts that are already there. */
  static DpoTrainer of(DpoConfig config, List<MetricsListener> listeners, DpoSetup parts) {
    return new DpoTrainer(config, listeners, parts);
  }

  /** What the run is about to do. */
  public RunPlan plan() {
    return plan;
  }

  /** Runs all steps and writes the model to the output directory. */
  public RunSummary train() {
    precomputeReference();
    return setup.loop(plan, listeners).run(this::step);
  }

  /** Scores the reference for all rows of the run, if that is to be done before training. */
  void precomputeReference() {
    if (reference != null && config.loss().precomputeRefLogProbs()) {
      reference.scoreAll(setup.schedule(), packer, slab, results);
    }
  }

  /** Finishes the step under way, then stops and writes the model. Callable from any thread. */
  public void interrupt() {
    setup.interrupt();
  }

  /** Writes the policy as it is now to a model directory. */
  public void save(Path output) {
    setup.policy().save(output);
  }

  TrainingSchedule schedule() {
    return setup.schedule();
  }

  Policy policy() {
    return setup.policy();
  }

  Backend backend() {
    return setup.backend();
  }

  /**
   * One optimizer step: gradients of all its packs, then one update. The host reads what came of it
   * once, before the update; until then, and after, it only tells the device what to do.
   */
  StepMetrics step(TrainingSchedule.Step step) {
    long begin = System.nanoTime();
    Backend backend = setup.backend();
    Policy policy = setup.policy();
    PairMetrics metrics = new PairMetrics(config.loss().beta(), step.microBatches().size());
    long tokensComputed = 0;
    double flops = 0;

    List<StepPacker.Pack> packs = packer.packs(step.microBatches());
    List<PairObjective.Outcome> outcomes = new ArrayList<>();
    results.clear();
    policy.zeroGradients();
    for (StepPacker.Pack pack : packs) {
      slab.reset(0);
      DeviceBatch batch;
      try (Backend.Range _ = backend.range("data")) {
        batch = DeviceBatch.upload(backend, slab, packer.batch(pack), largest);
      }
      PackedBatch packed = batch.host();
      Tensor referenceLogProbs =
          reference == null ? null : reference.logProbs(pack, batch, slab, results);
      outcomes.add(
          objective.accumulate(
              policy.weights(),
              policy.gradients(),
              batch,
              pack.weights(),
              referenceLogProbs,
              keep,
              slab,
              results));
      tokensComputed += packed.numTokens();
      flops += Flops.forward(policy.config(), packed).training();
    }
    Results.Kept normAndScale = results.keep(policy.gradientNorm());
    results.read();

    for (int p = 0; p < packs.size(); p++) {
      List<PairStatistics> statistics = outcomes.get(p).statistics(results);
      for (int i = 0; i < statistics.size(); i++) {
        metrics.add(packs.get(p).microBatches().get(i), statistics.get(i));
      }
    }
    double loss = metrics.loss();
    if (!Double.isFinite(loss)) {
      throw new TrainingException(
          "step %d: loss is %s; rows %s; lower learning_rate or look at these rows"
              .formatted(step.number(), loss, rowNumbers(step)));
    }
    if (step.number() == 1 && startsAsReference()) {
      StepZeroCheck.check(config.loss(), metrics.pairs());
      if (reference != null && reference.usesStored()) {
        StepZeroCheck.checkStored(metrics.pairs());
      }
    }
    double norm = results.f32(normAndScale)[0];
    policy.update(step.number(), norm);
    if (reference != null) {
      reference.remember(results);
      warn(reference.trouble());
      reference.afterStep(step.number(), config.loss(), policy.parameters());
    }

    Map<MetricName, Double> values = metrics.values();
    long tokens = tokens(step);
    tokensSeen += tokens;
    values.put(MetricName.GRAD_NORM, norm);
    values.put(MetricName.LEARNING_RATE, policy.learningRate(step.number()));
    values.put(MetricName.NUM_TOKENS, (double) tokensSeen);
    values.put(MetricName.EPOCH, step.epochsDone());
    return new StepMetrics(
        step.number(),
        step.microBatches().size(),
        values,
        new StepWork(
            metrics.pairs().size(),
            tokens,
            paddedTokens(step),
            tokensComputed,
            flops,
            System.nanoTime() - begin));
  }

  private void warn(@Nullable String line) {
    if (line != null) {
      listeners.forEach(listener -> listener.onWarning(line));
    }
  }

  private boolean startsAsReference() {
    return reference != null && config.model().refModelNameOrPath() == null;
  }

  private List<Long> rowNumbers(TrainingSchedule.Step step) {
    List<Long> numbers = new ArrayList<>();
    for (int[] microBatch : step.microBatches()) {
      for (int row : microBatch) {
        numbers.add(pairs.get(row).row());
      }
    }
    return numbers;
  }

  /** Tokens as TRL counts them: each answer with its prompt. */
  private long tokens(TrainingSchedule.Step step) {
    long tokens = 0;
    for (int[] microBatch : step.microBatches()) {
      for (int row : microBatch) {
        tokens += pairs.get(row).length() + pairs.get(row).prompt().length;
      }
    }
    return tokens;
  }

  /** Tokens of the rectangles that hold each micro-batch's answers with their prompts. */
  private long paddedTokens(TrainingSchedule.Step step) {
    long tokens = 0;
    for (int[] microBatch : step.microBatches()) {
      int longest = 0;
      for (int row : microBatch) {
        PairTokens pair = pairs.get(row);
        longest =
            Math.max(
                longest,
                pair.prompt().length + Math.max(pair.chosen().length, pair.rejected().length));
      }
      tokens += 2L * microBatch.length * longest;
    }
    return tokens;
  }

  /** Frees everything. */
  @Override
  public void close() {
    slab.close();
    results.close();
    if (reference != null) {
      reference.close();
    }
    setup.close();
  }
}
