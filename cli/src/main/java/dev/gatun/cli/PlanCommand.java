package dev.gatun.cli;

import dev.gatun.report.Numbers;
import dev.gatun.train.BenchmarkModel;
import dev.gatun.train.ConfigException;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.DpoPlan;
import dev.gatun.train.MemoryPlan;
import dev.gatun.train.ModelPreset;
import dev.gatun.train.PlanConfig;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun plan}: prints what a run would allocate, without its device. */
final class PlanCommand implements Command {
  /** Stands for a path that was not given; nothing is read from it. */
  private static final Path NOT_GIVEN = Path.of("(not given)");

  /** What was asked for. */
  static final class Request {
    final DpoConfig.Builder training =
        DpoConfig.builder().modelNameOrPath(NOT_GIVEN).datasetName(NOT_GIVEN).outputDir(NOT_GIVEN);
    @Nullable BenchmarkModel shape;
    @Nullable Integer promptTokens;
    @Nullable Integer answerTokens;
    int computeCapability = 90;
    OptionalLong deviceBytes = OptionalLong.empty();
    boolean json;

    PlanConfig config() {
      DpoConfig config = training.build();
      boolean directory = !config.model().modelNameOrPath().equals(NOT_GIVEN);
      if (directory == (shape != null)) {
        throw new ConfigException(
            "model_name_or_path",
            directory
                ? "and shape both name a model; remove one of them"
                : "is required: a model directory, or shape for a model that is not here");
      }
      BenchmarkModel model =
          shape == null ? new BenchmarkModel.Directory(config.model().modelNameOrPath()) : shape;
      boolean data = !config.data().datasetName().equals(NOT_GIVEN);
      Integer prompt = promptTokens;
      Integer answer = answerTokens;
      if (prompt == null || answer == null) {
        if (prompt != null || answer != null || !data) {
          throw new ConfigException(
              prompt == null ? "prompt_tokens" : "answer_tokens",
              "is missing; give both, or dataset_name to plan for its pairs");
        }
        return new PlanConfig(config, model, null, computeCapability, deviceBytes);
      }
      if (data) {
        throw new ConfigException(
            "dataset_name", "and prompt_tokens both say how long pairs are; remove one of them");
      }
      return new PlanConfig(
          config, model, new PlanConfig.Lengths(prompt, answer), computeCapability, deviceBytes);
    }
  }

  private static TrainingOptions<Request> options() {
    List<Flag<Request>> flags = new ArrayList<>();
    flags.add(
        Flag.one(
            "shape",
            Flag.Group.MODEL,
            "SHAPE",
            "Model that is not here, instead of a model directory: "
                + String.join(", ", ModelPreset.names())
                + ", or FAMILY:hidden,layers,heads,kv_heads,intermediate,vocabulary[,head_dim].",
            BenchmarkModel.Shape::of,
            (request, value) -> request.shape = value));
    flags.add(
        Flag.one(
            "prompt_tokens",
            Flag.Group.DATA,
            "TOKENS",
            "Length of every prompt, instead of a dataset.",
            Flag::integer,
            (request, value) -> request.promptTokens = value));
    flags.add(
        Flag.one(
            "answer_tokens",
            Flag.Group.DATA,
            "TOKENS",
            "The same of every answer.",
            Flag::integer,
            (request, value) -> request.answerTokens = value));
    flags.add(
        Flag.one(
            "device_memory",
            Flag.Group.DEVICE,
            "SIZE",
            "Finds the longest packs that fit: 24GiB, 80GB, 500MiB or bytes.",
            PlanCommand::size,
            (request, value) -> request.deviceBytes = OptionalLong.of(value)));
    flags.add(
        Flag.one(
            "compute_capability",
            Flag.Group.DEVICE,
            "NUMBER",
            "Of the GPU that device cuda stands for: 80, 86, 89, 90, 100 or 120.",
            Flag::integer,
            (request, value) -> request.computeCapability = value));
    flags.add(
        Flag.toggle(
            "json",
            Flag.Group.RUN,
            "Print one JSON object instead of the table.",
            request -> request.json = true));
    Flags.dpo().forEach(flag -> flags.add(flag.of(request -> request.training)));
    return new TrainingOptions<>(flags);
  }

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new PlanCommand());
    options()
        .declare(
            spec,
            DpoCommand.defaults(),
            Map.of("compute_capability", Integer.toString(new Request().computeCapability)));
    spec.usageMessage()
        .customSynopsis(
            "gatun plan (--model_name_or_path DIR | --shape SHAPE)",
            "           (--dataset_name PATH | --prompt_tokens N --answer_tokens N) [OPTION]...");
    return spec;
  }

  private static final Pattern SIZE =
      Pattern.compile("(\\d{1,12}(?:\\.\\d{1,6})?)\\s*(B|[KMGT]i?B)?", Pattern.CASE_INSENSITIVE);

  /** Bytes: {@code 24GiB} is 24 times 2^30, {@code 24GB} 24 times 10^9. */
  static long size(String name, String text) {
    Matcher matcher = SIZE.matcher(text);
    if (!matcher.matches()) {
      throw new ConfigException(
          name, "got %s, expected a size as 24GiB, 80GB or a number of bytes".formatted(text));
    }
    String unit = matcher.group(2) == null ? "B" : matcher.group(2).toUpperCase(Locale.ROOT);
    int power = "BKMGT".indexOf(unit.charAt(0));
    double factor = Math.pow(unit.contains("I") ? 1024 : 1000, power);
    return (long) (Double.parseDouble(matcher.group(1)) * factor);
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = new Request();
    options().apply(parsed, request, console);
    PlanConfig config = request.config();
    DpoPlan plan = DpoPlan.of(config);
    if (request.json) {
      console.out().println(plan.toJson());
    } else {
      print(console.out(), plan);
    }
    return ExitCode.OK;
  }

  private static void print(PrintStream out, DpoPlan plan) {
    out.printf(
        Locale.ROOT,
        "model: %s, %,d parameters, %s%n",
        plan.model(),
        plan.parameters(),
        plan.precision());
    out.println("device: " + plan.device());
    out.printf(
        Locale.ROOT,
        "packs: of up to %,d tokens; the largest has %,d pairs, %,d tokens, of which %,d predict%n%n",
        plan.maxTokensPerPack(),
        plan.largest().sequences(),
        plan.largest().tokens(),
        plan.largest().rows());
    table(out, plan.memory());
    out.printf(
        Locale.ROOT,
        "%nactivations: %,d bytes a token%n",
        plan.memory().lines().stream()
                .filter(line -> line.name().equals("activations"))
                .mapToLong(MemoryPlan.Line::sizeBytes)
                .sum()
            / plan.largest().tokens());
    DpoPlan.Budget budget = plan.budget();
    if (budget == null) {
      return;
    }
    String memory = Numbers.bytes(budget.deviceBytes());
    if (budget.maxTokensPerPack() == 0) {
      out.printf("%n%s do not hold one pair; with the shortest packs the run takes:%n%n", memory);
    } else {
      out.printf(
          Locale.ROOT,
          "%n%s hold packs of up to max_tokens_per_pack %d:%n%n",
          memory,
          budget.maxTokensPerPack());
    }
    table(out, budget.memory());
  }

  private static void table(PrintStream out, MemoryPlan memory) {
    for (MemoryPlan.Line line : memory.lines()) {
      row(out, line.name(), line.sizeBytes());
    }
    row(out, "in all", memory.totalBytes());
  }

  private static void row(PrintStream out, String name, long sizeBytes) {
    out.printf(Locale.ROOT, "%-12s %,20d bytes  %10s%n", name, sizeBytes, Numbers.bytes(sizeBytes));
  }
}
