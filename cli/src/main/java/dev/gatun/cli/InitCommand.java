package dev.gatun.cli;

import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.train.ConfigException;
import dev.gatun.train.ModelInit;
import dev.gatun.train.ModelPreset;
import dev.gatun.train.NewModel;
import dev.gatun.train.NewTokenizer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun init}: makes a model directory with random weights. */
final class InitCommand implements Command {
  private static final String DEFAULT_SHAPE = "tiny";

  /** What was asked for; sizes that are null are those of the shape. */
  static final class Request {
    @Nullable Path outputDir;
    String like = DEFAULT_SHAPE;
    @Nullable Family family;
    @Nullable Integer hiddenSize;
    @Nullable Integer intermediateSize;
    @Nullable Integer numHiddenLayers;
    @Nullable Integer numAttentionHeads;
    @Nullable Integer numKeyValueHeads;
    @Nullable Integer headDim;
    @Nullable Integer maxPositionEmbeddings;
    @Nullable Double ropeTheta;
    @Nullable Boolean tieWordEmbeddings;
    @Nullable Path tokenizer;
    List<Path> tokenizerText = List.of();
    int vocabSize = 4096;
    long seed = 42;

    NewModel model() {
      NewModel shape = ModelPreset.of("like", like).shape();
      return new NewModel(
          or(family, shape.family()),
          or(hiddenSize, shape.hiddenSize()),
          or(intermediateSize, shape.intermediateSize()),
          or(numHiddenLayers, shape.numHiddenLayers()),
          or(numAttentionHeads, shape.numAttentionHeads()),
          or(numKeyValueHeads, shape.numKeyValueHeads()),
          headDim == null ? shape.headDim() : headDim,
          or(maxPositionEmbeddings, shape.maxPositionEmbeddings()),
          or(ropeTheta, shape.ropeTheta()),
          or(tieWordEmbeddings, shape.tieWordEmbeddings()));
    }

    NewTokenizer tokenizerSource() {
      if ((tokenizer == null) == tokenizerText.isEmpty()) {
        throw new ConfigException(
            "tokenizer",
            tokenizer == null
                ? "is required: a model directory to copy one from, or tokenizer_text to train one"
                : "and tokenizer_text both name a tokenizer; remove one of them");
      }
      return tokenizer == null
          ? new NewTokenizer.Trained(tokenizerText, vocabSize)
          : new NewTokenizer.Copied(tokenizer);
    }

    private static <T> T or(@Nullable T given, T shape) {
      return given == null ? shape : given;
    }
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          List.of(
              Flag.one(
                  "output_dir",
                  Flag.Group.RUN,
                  "DIR",
                  "Folder of the new model; it must not hold one already.",
                  Flag::path,
                  (request, value) -> request.outputDir = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of the weights.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value),
              Flag.one(
                  "like",
                  Flag.Group.MODEL,
                  "SHAPE",
                  "Shape that sizes not given are taken from: "
                      + String.join(", ", ModelPreset.names())
                      + ".",
                  Flag::text,
                  (request, value) -> request.like = value),
              Flag.one(
                  "family",
                  Flag.Group.MODEL,
                  "NAME",
                  "Architecture: "
                      + Arrays.stream(Family.values())
                          .map(Family::modelType)
                          .collect(Collectors.joining(", "))
                      + ".",
                  InitCommand::family,
                  (request, value) -> request.family = value),
              size("hidden_size", (request, value) -> request.hiddenSize = value),
              size("intermediate_size", (request, value) -> request.intermediateSize = value),
              size("num_hidden_layers", (request, value) -> request.numHiddenLayers = value),
              size("num_attention_heads", (request, value) -> request.numAttentionHeads = value),
              size("num_key_value_heads", (request, value) -> request.numKeyValueHeads = value),
              size("head_dim", (request, value) -> request.headDim = value),
              size(
                  "max_position_embeddings",
                  (request, value) -> request.maxPositionEmbeddings = value),
              Flag.one(
                  "rope_theta",
                  Flag.Group.MODEL,
                  "NUMBER",
                  "Base of the rotary embedding.",
                  Flag::number,
                  (request, value) -> request.ropeTheta = value),
              Flag.one(
                  "tie_word_embeddings",
                  Flag.Group.MODEL,
                  "true|false",
                  "Whether the head is the embedding.",
                  Flag::bool,
                  (request, value) -> request.tieWordEmbeddings = value),
              Flag.one(
                  "tokenizer",
                  Flag.Group.DATA,
                  "DIR",
                  "Model directory whose tokenizer is copied.",
                  Flag::path,
                  (request, value) -> request.tokenizer = value),
              Flag.list(
                  "tokenizer_text",
                  Flag.Group.DATA,
                  "FILE",
                  "Text files that a tokenizer is trained on.",
                  Flag::path,
                  (request, value) -> request.tokenizerText = value),
              Flag.one(
                  "vocab_size",
                  Flag.Group.DATA,
                  "TOKENS",
                  "Vocabulary of a tokenizer that is trained.",
                  Flag::integer,
                  (request, value) -> request.vocabSize = value)));

  private static Flag<Request> size(String name, BiConsumer<Request, Integer> setter) {
    return Flag.one(name, Flag.Group.MODEL, "SIZE", "As in config.json.", Flag::integer, setter);
  }

  private static Family family(String name, String text) {
    for (Family family : Family.values()) {
      if (family.modelType().equals(text)) {
        return family;
      }
    }
    throw new ConfigException(
        name,
        "got %s, expected one of %s"
            .formatted(
                text,
                Arrays.stream(Family.values())
                    .map(Family::modelType)
                    .collect(Collectors.joining(", "))));
  }

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new InitCommand());
    FLAGS.declare(spec, Map.of("like", DEFAULT_SHAPE, "vocab_size", "4096", "seed", "42"));
    spec.usageMessage()
        .customSynopsis(
            "gatun init --output_dir DIR (--tokenizer DIR | --tokenizer_text FILE...) [OPTION]...");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    if (request.outputDir == null) {
      throw new ConfigException("output_dir", "is required: the folder of the new model");
    }
    long parameters =
        ModelInit.write(
            request.model(), request.tokenizerSource(), request.seed, request.outputDir);
    console
        .out()
        .printf(Locale.ROOT, "%s: a new model of %,d parameters%n", request.outputDir, parameters);
    return ExitCode.OK;
  }
}
