package dev.gatun.cli;

import dev.gatun.backend.Backend;
import dev.gatun.cli.TextFiles.Answered;
import dev.gatun.model.GenerationOptions;
import dev.gatun.train.ConfigException;
import dev.gatun.train.InferenceModel;
import dev.gatun.train.PrecisionChoice;
import dev.gatun.train.ResolvedPrecision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun generate}: continues prompts with a model. */
final class GenerateCommand implements Command {
  /** What was asked for. */
  static final class Request {
    @Nullable Path model;
    List<String> prompts = List.of();
    @Nullable Path promptsFile;
    int maxNewTokens = 64;
    double temperature;
    int topK;
    double topP = 1;
    long seed = 42;
    PrecisionChoice dtype = PrecisionChoice.AUTO;
    final DeviceRequest device = new DeviceRequest();
    int numReturnSequences = 1;
    @Nullable Path outputFile;
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          DeviceRequest.flags(request -> request.device),
          List.of(
              DeviceRequest.tf32(request -> request.device),
              Flag.one(
                  "model_name_or_path",
                  Flag.Group.MODEL,
                  "DIR",
                  "Hugging Face model directory.",
                  Flag::path,
                  (request, value) -> request.model = value),
              Flags.dtype((request, value) -> request.dtype = value),
              Flag.list(
                  "prompt",
                  Flag.Group.DATA,
                  "TEXT",
                  "One or more prompts.",
                  Flag::text,
                  (request, value) -> request.prompts = value),
              Flag.one(
                  "prompts_file",
                  Flag.Group.DATA,
                  "FILE",
                  "Text file with a prompt in each line.",
                  Flag::path,
                  (request, value) -> request.promptsFile = value),
              Flag.one(
                  "max_new_tokens",
                  Flag.Group.RUN,
                  "TOKENS",
                  "Stop after this many.",
                  Flag::integer,
                  (request, value) -> request.maxNewTokens = value),
              Flag.one(
                  "temperature",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Logits are divided by it; 0: always the most likely token.",
                  Flag::number,
                  (request, value) -> request.temperature = value),
              Flag.one(
                  "top_k",
                  Flag.Group.RUN,
                  "COUNT",
                  "Choose among the most likely tokens only; 0: all.",
                  Flag::integer,
                  (request, value) -> request.topK = value),
              Flag.one(
                  "top_p",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Choose among the tokens that together reach this probability; 1: all.",
                  Flag::number,
                  (request, value) -> request.topP = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of the random choices.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value),
              Flag.one(
                  "num_return_sequences",
                  Flag.Group.RUN,
                  "COUNT",
                  "Texts per prompt.",
                  Flag::integer,
                  (request, value) -> request.numReturnSequences = value),
              Flag.one(
                  "output_file",
                  Flag.Group.RUN,
                  "FILE",
                  "Write JSON lines with prompt and completion instead of printing.",
                  Flag::path,
                  (request, value) -> request.outputFile = value)));

  private static final Map<String, String> DEFAULTS =
      Map.of(
          "num_return_sequences", "1",
          "dtype", new Request().dtype.toString(),
          "max_new_tokens", "64",
          "temperature", "0",
          "top_k", "0",
          "top_p", "1",
          "seed", "42");

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new GenerateCommand());
    FLAGS.declare(spec, DEFAULTS);
    spec.usageMessage()
        .customSynopsis("gatun generate --model_name_or_path DIR --prompt TEXT... [OPTION]...");
    return spec;
  }

  /**
   * How to choose tokens.
   *
   * @throws ConfigException naming the option that is out of range
   */
  static GenerationOptions options(
      int maxNewTokens, double temperature, int topK, double topP, long seed) {
    try {
      return new GenerationOptions(maxNewTokens, temperature, topK, topP, seed);
    } catch (IllegalArgumentException e) {
      throw new ConfigException("generate", String.valueOf(e.getMessage()));
    }
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    if (request.model == null) {
      throw new ConfigException("model_name_or_path", "is required: a model directory");
    }
    List<String> prompts = new ArrayList<>(request.prompts);
    if (request.promptsFile != null) {
      prompts.addAll(TextFiles.lines("prompts_file", request.promptsFile));
    }
    if (prompts.isEmpty()) {
      throw new ConfigException("prompt", "is required: one or more texts, or prompts_file");
    }
    if (request.numReturnSequences < 1) {
      throw new ConfigException(
          "num_return_sequences",
          "got %d, expected at least 1".formatted(request.numReturnSequences));
    }
    if (request.numReturnSequences > 1 && request.temperature == 0) {
      throw new ConfigException(
          "num_return_sequences", "needs a temperature above 0: without it all texts are the same");
    }
    GenerationOptions options =
        options(
            request.maxNewTokens, request.temperature, request.topK, request.topP, request.seed);
    List<String> repeated =
        prompts.stream()
            .flatMap(prompt -> Collections.nCopies(request.numReturnSequences, prompt).stream())
            .toList();
    ResolvedPrecision precision;
    List<Answered> answered;
    try (Backend backend = request.device.open()) {
      precision = request.dtype.on(backend);
      answered = generate(request.model, backend, precision, repeated, options);
    }
    if (request.outputFile == null) {
      // Texts alone: another program may read them.
      answered.forEach(row -> console.out().println(row.prompt() + row.completion()));
    } else {
      TextFiles.writeAnswered(request.outputFile, answered);
      console.out().println("dtype: " + precision);
      console.out().println(answered.size() + " texts written to " + request.outputFile);
    }
    return ExitCode.OK;
  }

  private static List<Answered> generate(
      Path directory,
      Backend backend,
      ResolvedPrecision precision,
      List<String> repeated,
      GenerationOptions options) {
    List<Answered> answered = new ArrayList<>();
    try (InferenceModel model = InferenceModel.open(directory, backend, precision.precision())) {
      List<String> texts = model.generate(repeated, options);
      for (int i = 0; i < texts.size(); i++) {
        answered.add(new Answered(repeated.get(i), texts.get(i)));
      }
    }
    return answered;
  }
}
