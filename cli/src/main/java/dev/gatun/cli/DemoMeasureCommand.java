package dev.gatun.cli;

import dev.gatun.backend.Backend;
import dev.gatun.model.GenerationOptions;
import dev.gatun.model.PackedBatch;
import dev.gatun.train.ConfigException;
import dev.gatun.train.InferenceModel;
import dev.gatun.train.Precision;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/**
 * {@code gatun demo measure}: sentiment of models' samples, and how far they are from one model.
 */
final class DemoMeasureCommand implements Command {
  /** What was asked for. */
  static final class Request {
    @Nullable Path reference;
    List<Path> policies = List.of();
    @Nullable Path prompts;
    int maxNewTokens = 64;
    int numTexts = 2;
    long seed = 42;
    final DeviceRequest device = new DeviceRequest();
  }

  /** A mean over samples and its standard error. */
  record Estimate(double mean, double error) {
    static Estimate of(double[] values) {
      double mean = DoubleStream.of(values).average().orElseThrow();
      double squares = DoubleStream.of(values).map(v -> (v - mean) * (v - mean)).sum();
      double variance = squares / Math.max(1, values.length - 1);
      return new Estimate(mean, Math.sqrt(variance / values.length));
    }

    String shown(int decimals, double scale) {
      String number = "%." + decimals + "f";
      return String.format(Locale.ROOT, number + " ± " + number, scale * mean, scale * error);
    }
  }

  /**
   * One model's row of the table.
   *
   * @param kl to the reference, nats per text: mean of log pi(y|x) - log ref(y|x) over y of pi
   * @param texts its samples, one per prompt
   */
  record Measurement(
      String name, Estimate positive, Estimate score, Estimate kl, List<String> texts) {}

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          DeviceRequest.flags(request -> request.device),
          List.of(
              DeviceRequest.tf32(request -> request.device),
              Flag.one(
                  "reference",
                  Flag.Group.MODEL,
                  "DIR",
                  "Model that the distance is measured to.",
                  Flag::path,
                  (request, value) -> request.reference = value),
              Flag.list(
                  "policies",
                  Flag.Group.MODEL,
                  "DIR",
                  "Models to compare with it; they have its tokenizer.",
                  Flag::path,
                  (request, value) -> request.policies = value),
              Flag.one(
                  "prompts_file",
                  Flag.Group.DATA,
                  "FILE",
                  "Text file with a prompt in each line.",
                  Flag::path,
                  (request, value) -> request.prompts = value),
              Flag.one(
                  "max_new_tokens",
                  Flag.Group.RUN,
                  "TOKENS",
                  "Stop a sample after this many.",
                  Flag::integer,
                  (request, value) -> request.maxNewTokens = value),
              Flag.one(
                  "num_texts",
                  Flag.Group.RUN,
                  "COUNT",
                  "Prompts for which the models' samples are shown.",
                  Flag::integer,
                  (request, value) -> request.numTexts = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of the samples.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value)));

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DemoMeasureCommand());
    FLAGS.declare(spec, Map.of("max_new_tokens", "64", "num_texts", "2", "seed", "42"));
    spec.usageMessage()
        .description(
            "Draws one sample per prompt from each model and prints the share of positive samples,"
                + " the mean sentiment score and the KL divergence from the reference, each with"
                + " its standard error.");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    if (request.reference == null) {
      throw new ConfigException("reference", "is required: a model directory");
    }
    if (request.prompts == null) {
      throw new ConfigException("prompts_file", "is required: a text file of prompts");
    }
    List<String> prompts = TextFiles.lines("prompts_file", request.prompts);
    if (prompts.isEmpty()) {
      throw new ConfigException("prompts_file", request.prompts + " holds no line");
    }
    GenerationOptions options =
        GenerateCommand.options(request.maxNewTokens, 1, 0, 1, request.seed);
    List<Measurement> table = new ArrayList<>();
    try (Backend backend = request.device.open();
        InferenceModel reference =
            InferenceModel.open(request.reference, backend, Precision.FLOAT32)) {
      table.add(measure(name(request.reference), reference, reference, prompts, options));
      for (Path directory : request.policies) {
        try (InferenceModel policy = InferenceModel.open(directory, backend, Precision.FLOAT32)) {
          table.add(measure(name(directory), policy, reference, prompts, options));
        }
      }
    }
    print(table, prompts, Math.min(request.numTexts, prompts.size()), console.out());
    return ExitCode.OK;
  }

  private static String name(Path directory) {
    return String.valueOf(directory.toAbsolutePath().normalize().getFileName());
  }

  private static Measurement measure(
      String name,
      InferenceModel policy,
      InferenceModel reference,
      List<String> prompts,
      GenerationOptions options) {
    List<PackedBatch.Sequence> samples = policy.sample(prompts, options);
    List<String> texts = samples.stream().map(policy::answer).toList();
    List<Double> ofPolicy = policy.logProbs(samples);
    List<Double> ofReference = reference.logProbs(samples);
    double[] scores = texts.stream().mapToDouble(Sentiment::score).toArray();
    return new Measurement(
        name,
        Estimate.of(DoubleStream.of(scores).map(score -> score > 0 ? 1 : 0).toArray()),
        Estimate.of(scores),
        Estimate.of(
            IntStream.range(0, samples.size())
                .mapToDouble(i -> ofPolicy.get(i) - ofReference.get(i))
                .toArray()),
        texts);
  }

  private static void print(
      List<Measurement> table, List<String> prompts, int numTexts, PrintStream out) {
    int width = table.stream().mapToInt(row -> row.name().length()).max().orElseThrow();
    String line = "%-" + Math.max(width, "model".length()) + "s  %12s  %14s  %17s%n";
    out.printf(line, "model", "positive, %", "mean score", "KL, nats per text");
    for (Measurement row : table) {
      out.printf(
          line,
          row.name(),
          row.positive().shown(1, 100),
          row.score().shown(3, 1),
          row.kl().shown(2, 1));
    }
    out.printf(
        "one fresh sample for each of %d prompts; ± is the standard error%n", prompts.size());
    for (int i = 0; i < numTexts; i++) {
      out.println();
      out.println(prompts.get(i));
      for (Measurement row : table) {
        out.printf("%" + (width + 2) + "s:%s%n", row.name(), row.texts().get(i));
      }
    }
  }
}
