package dev.gatun.cli;

import dev.gatun.cli.TextFiles.Answered;
import dev.gatun.train.ConfigException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun demo reviews}: writes reviews, and prompts that no review has. */
final class DemoReviewsCommand implements Command {
  /** What was asked for. */
  static final class Request {
    @Nullable Path outputDir;
    int numReviews = 4000;
    int numPrompts = 1000;
    int numFreshPrompts = 500;
    long seed = 42;
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          List.of(
              Flag.one(
                  "output_dir",
                  Flag.Group.RUN,
                  "DIR",
                  "Folder of the files.",
                  Flag::path,
                  (request, value) -> request.outputDir = value),
              Flag.one(
                  "num_reviews",
                  Flag.Group.DATA,
                  "COUNT",
                  "Reviews to train the first model on.",
                  Flag::integer,
                  (request, value) -> request.numReviews = value),
              Flag.one(
                  "num_prompts",
                  Flag.Group.DATA,
                  "COUNT",
                  "Prompts to sample pairs for.",
                  Flag::integer,
                  (request, value) -> request.numPrompts = value),
              Flag.one(
                  "num_fresh_prompts",
                  Flag.Group.DATA,
                  "COUNT",
                  "Prompts to measure with.",
                  Flag::integer,
                  (request, value) -> request.numFreshPrompts = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of the texts.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value)));

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DemoReviewsCommand());
    FLAGS.declare(
        spec,
        Map.of(
            "num_reviews",
            "4000",
            "num_prompts",
            "1000",
            "num_fresh_prompts",
            "500",
            "seed",
            "42"));
    spec.usageMessage()
        .description(
            "Writes reviews.jsonl and reviews.txt, prompts.txt and fresh_prompts.txt; no prompt is"
                + " in two of them.");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    if (request.outputDir == null) {
      throw new ConfigException("output_dir", "is required: the folder of the files");
    }
    atLeastOne("num_reviews", request.numReviews);
    atLeastOne("num_prompts", request.numPrompts);
    atLeastOne("num_fresh_prompts", request.numFreshPrompts);
    ReviewGrammar grammar = new ReviewGrammar(request.seed);
    List<String> all = grammar.prompts();
    long held = (long) request.numPrompts + request.numFreshPrompts;
    if (held >= all.size()) {
      throw new ConfigException(
          "num_prompts",
          "and num_fresh_prompts are %d in all, expected fewer than the grammar's %d"
              .formatted(held, all.size()));
    }
    List<String> ofReviews = all.subList((int) held, all.size());
    List<Answered> reviews = new ArrayList<>();
    for (int i = 0; i < request.numReviews; i++) {
      reviews.add(new Answered(ofReviews.get(i % ofReviews.size()), grammar.completion()));
    }
    Path folder = request.outputDir;
    TextFiles.createFolder(folder);
    TextFiles.writeAnswered(folder.resolve("reviews.jsonl"), reviews);
    TextFiles.writeLines(
        folder.resolve("reviews.txt"),
        reviews.stream().map(review -> review.prompt() + review.completion()).toList());
    TextFiles.writeLines(folder.resolve("prompts.txt"), all.subList(0, request.numPrompts));
    TextFiles.writeLines(
        folder.resolve("fresh_prompts.txt"), all.subList(request.numPrompts, (int) held));
    long positive =
        reviews.stream().filter(review -> Sentiment.score(review.completion()) > 0).count();
    console
        .out()
        .printf(
            Locale.ROOT,
            "%d reviews, %.1f %% positive; %d prompts to sample for, %d to measure with%n",
            reviews.size(),
            100.0 * positive / reviews.size(),
            request.numPrompts,
            request.numFreshPrompts);
    return ExitCode.OK;
  }

  private static void atLeastOne(String name, int count) {
    if (count < 1) {
      throw new ConfigException(name, "got %d, expected at least 1".formatted(count));
    }
  }
}
