package dev.gatun.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.cli.Flag.Group;
import dev.gatun.train.ConfigException;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.ReferenceScoring;
import dev.gatun.train.ReferenceScoring.RowScores;
import dev.gatun.train.ReferenceStoreFolder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/**
 * {@code gatun score}: scores the rows of a run with its reference. It takes the options of {@code
 * gatun dpo}, so that the configuration of a run can be given as it is.
 */
final class ScoreCommand implements Command {
  private static final String OUTPUT = "output";
  private static final String PER_TOKEN = "per_token";

  /** What the command has besides the options of a run. */
  private static final class Request {
    private @Nullable Path output;
    private boolean perToken;
  }

  private static final FlagSet<Request> OWN =
      new FlagSet<>(
          List.of(
              Flag.optional(
                  OUTPUT,
                  Group.RUN,
                  "FILE",
                  "JSON lines to write: a row's number, and sums and counts of its log-probs.",
                  Flag::path,
                  (request, path) -> request.output = path),
              Flag.toggle(
                  PER_TOKEN,
                  Group.RUN,
                  "Also write the log-prob of every answer token.",
                  request -> request.perToken = true)));

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new ScoreCommand());
    DpoCommand.options().declare(spec, DpoCommand.defaults());
    for (Flag<Request> flag : OWN.all()) {
      spec.addOption(
          FlagSet.option(flag.name(), flag.arity())
              .paramLabel(flag.label())
              .description(flag.description())
              .build());
    }
    spec.usageMessage()
        .customSynopsis("gatun score --model_name_or_path DIR --dataset_name PATH [OPTION]...");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    // Nothing is written there.
    DpoConfig.Builder builder = DpoCommand.builder().outputDir(Path.of("."));
    DpoCommand.options().apply(parsed, builder, console);
    Request request = OWN.apply(parsed, new Request());
    DpoConfig config = builder.build();
    if (request.perToken && request.output == null) {
      throw new ConfigException(PER_TOKEN, "has no effect here: set " + OUTPUT + " or remove it");
    }
    if (config.loss().referenceStore().kind() == ReferenceStoreFolder.Kind.NONE
        && request.output == null) {
      throw new ConfigException(
          OUTPUT, "is required where reference_store is none: nothing else would be kept");
    }
    try (ReferenceScoring scoring = ReferenceScoring.open(config)) {
      scoring.notes().forEach(console.out()::println);
      long missing = scoring.missing();
      List<RowScores> rows = scoring.score();
      console
          .out()
          .printf(Locale.ROOT, "%d rows scored, %d known before%n", missing, rows.size() - missing);
      if (request.output != null) {
        List<String> lines = new ArrayList<>();
        rows.forEach(row -> lines.add(json(row, request)));
        TextFiles.writeLines(request.output, lines);
        console.out().println(rows.size() + " rows written to " + request.output);
      }
    }
    return ExitCode.OK;
  }

  private static String json(RowScores row, Request request) {
    ObjectNode node =
        TextFiles.object()
            .put("row", row.row())
            .put("ref_chosen_logps", sum(row.chosen()))
            .put("ref_rejected_logps", sum(row.rejected()))
            .put("chosen_tokens", row.chosen().length)
            .put("rejected_tokens", row.rejected().length);
    if (request.perToken) {
      add(node.putArray("ref_chosen_token_logps"), row.chosen());
      add(node.putArray("ref_rejected_token_logps"), row.rejected());
    }
    return node.toString();
  }

  private static void add(ArrayNode array, float[] values) {
    for (float value : values) {
      array.add(value);
    }
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum;
  }
}
