package dev.gatun.cli;

import dev.gatun.cli.TextFiles.Answered;
import dev.gatun.train.ConfigException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun demo label}: makes a preference pair of each prompt's samples. */
final class DemoLabelCommand implements Command {
  /** What was asked for. */
  static final class Request {
    @Nullable Path samples;
    @Nullable Path output;
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          List.of(
              Flag.one(
                  "samples_file",
                  Flag.Group.DATA,
                  "FILE",
                  "JSON lines with prompt and completion, several per prompt.",
                  Flag::path,
                  (request, value) -> request.samples = value),
              Flag.one(
                  "output_file",
                  Flag.Group.RUN,
                  "FILE",
                  "JSON lines with prompt, chosen and rejected.",
                  Flag::path,
                  (request, value) -> request.output = value)));

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DemoLabelCommand());
    FLAGS.declare(spec, Map.of());
    spec.usageMessage()
        .description(
            "Prefers each prompt's sample of the highest sentiment score to that of the lowest;"
                + " prompts whose samples all score the same are left out.");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    if (request.samples == null) {
      throw new ConfigException("samples_file", "is required: samples to label");
    }
    if (request.output == null) {
      throw new ConfigException("output_file", "is required: the file of the pairs");
    }
    Map<String, List<String>> byPrompt = new LinkedHashMap<>();
    for (Answered sample : TextFiles.readAnswered(request.samples)) {
      byPrompt.computeIfAbsent(sample.prompt(), _ -> new ArrayList<>()).add(sample.completion());
    }
    Comparator<String> byScore = Comparator.comparingDouble(Sentiment::score);
    List<String> pairs = new ArrayList<>();
    byPrompt.forEach(
        (prompt, samples) -> {
          String chosen = samples.stream().max(byScore).orElseThrow();
          String rejected = samples.stream().min(byScore).orElseThrow();
          if (byScore.compare(chosen, rejected) > 0) {
            pairs.add(
                TextFiles.object()
                    .put("prompt", prompt)
                    .put("chosen", chosen)
                    .put("rejected", rejected)
                    .toString());
          }
        });
    TextFiles.writeLines(request.output, pairs);
    console
        .out()
        .printf(
            Locale.ROOT,
            "%d pairs; %d prompts left out, as their samples score the same%n",
            pairs.size(),
            byPrompt.size() - pairs.size());
    return ExitCode.OK;
  }
}
