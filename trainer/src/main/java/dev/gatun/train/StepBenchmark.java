package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.RangeTimes;
import dev.gatun.data.PairTokens;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.ParameterLayout;
import dev.gatun.report.StepWork;
import dev.gatun.tensor.DType;
import dev.gatun.train.BenchmarkConfig.ReferenceTime;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;

/**
 * Measures whole training steps: {@link DpoTrainer#step} as a run calls it, on pairs of random
 * tokens. Every round trains on the same pairs, so that rounds differ by noise alone.
 */
public final class StepBenchmark {
  /** Nothing is read from it or written to it: pairs and weights are made. */
  private static final Path NO_FILE = Path.of("benchmark");

  /** What exo_pair's paper uses; it cannot be 0. */
  private static final double EXO_LABEL_SMOOTHING = 1e-3;

  private final BenchmarkConfig config;
  private final Precision precision;
  private final DpoTrainer trainer;

  private StepBenchmark(BenchmarkConfig config, Precision precision, DpoTrainer trainer) {
    this.config = config;
    this.precision = precision;
    this.trainer = trainer;
  }

  /**
   * Makes model and pairs, and trains.
   *
   * @param notes told what the run is about to do, line by line
   * @param progress told each round as it ends
   */
  public static BenchmarkReport run(
      BenchmarkConfig config, Consumer<String> notes, Consumer<BenchmarkRound> progress) {
    DpoConfig training = training(config);
    OpenDevice device = config.device().open(config.deviceOptions());
    ResolvedPrecision precision;
    DpoTrainer trainer;
    try {
      precision =
          TrainingSetup.precision(training.precision(), training.optimizer(), device.backend());
      StartModel model = config.model().open(config.seed());
      trainer =
          DpoTrainer.of(
              training,
              List.of(),
              DpoSetup.of(training, device, precision, model, pairs(config, model)));
    } catch (Throwable failure) {
      device.backend().close();
      throw failure;
    }
    try (trainer) {
      trainer.plan().notes().forEach(notes);
      return new StepBenchmark(config, precision.precision(), trainer).measure(progress);
    }
  }

  private BenchmarkReport measure(Consumer<BenchmarkRound> progress) {
    Backend backend = trainer.backend();
    DType dtype = Policy.dtype(precision);
    double peak = MatmulCeiling.measureThoroughly(backend, dtype);

    long begin = System.nanoTime();
    trainer.precomputeReference();
    backend.synchronize();
    boolean precomputes = precomputes(config);
    double referenceSeconds = precomputes ? 1e-9 * (System.nanoTime() - begin) : Double.NaN;

    List<BenchmarkRound> rounds = new ArrayList<>();
    int step = 1;
    while (step <= config.warmUpSteps()) {
      step(backend, step++);
    }
    while (step <= config.totalSteps()) {
      BenchmarkRound round = round(backend, step);
      progress.accept(round);
      rounds.add(round);
      step += config.steps();
    }
    peak = Math.max(peak, MatmulCeiling.measureThoroughly(backend, dtype));
    return new BenchmarkReport(
        config,
        precision,
        ParameterLayout.of(trainer.policy().config()).parameterCount(),
        backend.description(),
        peak,
        referenceSeconds,
        backend.peakBytes(),
        rounds);
  }

  private BenchmarkRound round(Backend backend, int firstStep) {
    List<StepWork> works = new ArrayList<>();
    backend.synchronize();
    backend.startTiming();
    long begin = System.nanoTime();
    for (int i = 0; i < config.steps(); i++) {
      works.add(step(backend, firstStep + i));
    }
    backend.synchronize();
    double seconds = 1e-9 * (System.nanoTime() - begin);
    RangeTimes phases = backend.stopTiming();
    return new BenchmarkRound(
        seconds,
        works.stream().mapToLong(StepWork::rows).sum(),
        works.stream().mapToLong(StepWork::tokens).sum(),
        works.stream().mapToLong(StepWork::tokensComputed).sum(),
        works.stream().mapToDouble(StepWork::usefulFlops).sum(),
        phases);
  }

  private StepWork step(Backend backend, int number) {
    try (Backend.Range _ = backend.range("step")) {
      return trainer.step(trainer.schedule().step(number)).work();
    }
  }

  private static boolean precomputes(BenchmarkConfig config) {
    return config.reference() == ReferenceTime.CACHED && config.loss() != LossType.SIMPO;
  }

  private static DpoConfig training(BenchmarkConfig config) {
    DpoConfig.Builder builder =
        DpoConfig.builder()
            .modelNameOrPath(Path.of(config.model().title()))
            .datasetName(NO_FILE)
            .outputDir(NO_FILE)
            .dtype(config.dtype())
            .lossType(config.loss())
            .trainSamplingStrategy(SamplingStrategy.SEQUENTIAL)
            .perDeviceTrainBatchSize(config.pairsPerStep())
            .maxSteps(config.totalSteps())
            .maxTokensPerPack(config.maxTokensPerPack())
            .seed(config.seed());
    if (config.loss() == LossType.EXO_PAIR) {
      builder.labelSmoothing(EXO_LABEL_SMOOTHING);
    }
    if (precomputes(config)) {
      builder.precomputeRefLogProbs();
    }
    if (config.gradientCheckpointing()) {
      builder.gradientCheckpointing();
    }
    return builder.build();
  }

  /**
   * The pairs of all rounds. Where a resident reference scores each row when it is trained on
   * first, every round has rows of its own, of the same tokens; else rounds are epochs.
   */
  private static TrainingData<PairTokens> pairs(BenchmarkConfig config, StartModel model) {
    ModelConfig shape = model.config();
    int longest = config.promptTokens().longest() + config.answerTokens().longest();
    if (longest > shape.maxPositions()) {
      throw new ConfigException(
          "prompt_tokens",
          "with answer_tokens a sequence has up to %d tokens, the model takes %d; shorten them"
              .formatted(longest, shape.maxPositions()));
    }
    SplittableRandom random = new SplittableRandom(config.seed());
    int perRound = config.steps() * config.pairsPerStep();
    int count =
        config.reference() == ReferenceTime.LIVE
            ? config.totalSteps() * config.pairsPerStep()
            : perRound;
    List<PairTokens> rows = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      if (i < perRound) {
        rows.add(
            new PairTokens(
                tokens(random, config.promptTokens(), shape),
                tokens(random, config.answerTokens(), shape),
                tokens(random, config.answerTokens(), shape),
                i + 1));
      } else {
        PairTokens same = rows.get(i - perRound);
        rows.add(new PairTokens(same.prompt(), same.chosen(), same.rejected(), i + 1));
      }
    }
    return new TrainingData<>(
        rows, rows.stream().mapToInt(PairTokens::length).toArray(), longest, List.of());
  }

  private static int[] tokens(SplittableRandom random, LengthRange length, ModelConfig shape) {
    return random.ints(length.draw(random), 0, shape.vocabSize()).toArray();
  }
}
