package dev.gatun.cli;

import dev.gatun.backend.CudaOptions;
import dev.gatun.report.Numbers;
import dev.gatun.train.BenchmarkConfig;
import dev.gatun.train.BenchmarkConfig.ReferenceTime;
import dev.gatun.train.BenchmarkModel;
import dev.gatun.train.BenchmarkReport;
import dev.gatun.train.BenchmarkReport.Spread;
import dev.gatun.train.BenchmarkRound;
import dev.gatun.train.ConfigException;
import dev.gatun.train.LengthRange;
import dev.gatun.train.LossType;
import dev.gatun.train.ModelPreset;
import dev.gatun.train.OpsBenchmark;
import dev.gatun.train.OpsReport;
import dev.gatun.train.PrecisionChoice;
import dev.gatun.train.StepBenchmark;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun bench}: measures whole training steps, or their ops. */
final class BenchCommand implements Command {
  /** What was asked for. */
  static final class Request {
    @Nullable Path directory;
    @Nullable String shape;
    LengthRange promptTokens = new LengthRange(122, 242);
    LengthRange answerTokens = new LengthRange(64, 193);
    int pairs = 4;
    PrecisionChoice dtype = PrecisionChoice.AUTO;
    PrecisionChoice bf16 = PrecisionChoice.AUTO;
    LossType loss = LossType.SIGMOID;
    ReferenceTime reference = ReferenceTime.CACHED;
    boolean gradientCheckpointing;
    int maxTokensPerPack;
    final DeviceRequest device = new DeviceRequest();
    CudaOptions.Graphs cudaGraphs = CudaOptions.Graphs.AUTO;
    int steps = 4;
    int warmUpSteps = 2;
    int rounds = 5;
    long seed = 42;
    boolean json;
    boolean ops;

    BenchmarkConfig config() {
      return new BenchmarkConfig(
          model(),
          promptTokens,
          answerTokens,
          pairs,
          dtype.with(bf16),
          loss,
          reference,
          gradientCheckpointing,
          maxTokensPerPack,
          device.device(),
          device.options(cudaGraphs),
          steps,
          warmUpSteps,
          rounds,
          seed);
    }

    private BenchmarkModel model() {
      if (directory != null && shape != null) {
        throw new ConfigException(
            "shape", "and model_name_or_path both name a model; remove one of them");
      }
      return directory == null
          ? BenchmarkModel.Shape.of("shape", shape == null ? DEFAULT_SHAPE : shape)
          : new BenchmarkModel.Directory(directory);
    }
  }

  private static final String DEFAULT_SHAPE = "15m";

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          DeviceRequest.flags(request -> request.device),
          List.of(
              DeviceRequest.tf32(request -> request.device),
              Flag.one(
                  "model_name_or_path",
                  Flag.Group.MODEL,
                  "DIR",
                  "Model directory that is trained; nothing is written to it.",
                  Flag::path,
                  (request, value) -> request.directory = value),
              Flag.one(
                  "shape",
                  Flag.Group.MODEL,
                  "SHAPE",
                  "Model of random weights instead, made without files: "
                      + String.join(", ", ModelPreset.names())
                      + ", or FAMILY:hidden,layers,heads,kv_heads,intermediate,vocabulary"
                      + "[,head_dim].",
                  Flag::text,
                  (request, value) -> request.shape = value),
              Flags.dtype((request, value) -> request.dtype = value),
              Flag.either(
                  "bf16",
                  Flag.Group.MODEL,
                  "As dtype bfloat16; false: as dtype float32 where that is auto.",
                  request -> request.bf16 = PrecisionChoice.BFLOAT16,
                  request -> request.bf16 = PrecisionChoice.FLOAT32),
              Flag.one(
                  "prompt_tokens",
                  Flag.Group.DATA,
                  "N|A:B",
                  "Length of prompts, or two that lengths are drawn between.",
                  (name, text) -> LengthRange.of(name, text),
                  (request, value) -> request.promptTokens = value),
              Flag.one(
                  "answer_tokens",
                  Flag.Group.DATA,
                  "N|A:B",
                  "The same of answers.",
                  (name, text) -> LengthRange.of(name, text),
                  (request, value) -> request.answerTokens = value),
              Flag.one(
                  "pairs",
                  Flag.Group.DATA,
                  "COUNT",
                  "Pairs in an optimizer step.",
                  Flag::integer,
                  (request, value) -> request.pairs = value),
              Flag.one(
                  "loss_type",
                  Flag.Group.LOSS,
                  "LOSS",
                  "One of the losses of gatun dpo.",
                  Flag.choice(LossType.class),
                  (request, value) -> request.loss = value),
              Flag.one(
                  "reference",
                  Flag.Group.LOSS,
                  "NAME",
                  "cached: scored once before training; live: scored in every step.",
                  Flag.choice(ReferenceTime.class),
                  (request, value) -> request.reference = value),
              Flag.one(
                  "steps",
                  Flag.Group.RUN,
                  "COUNT",
                  "Optimizer steps in a round.",
                  Flag::integer,
                  (request, value) -> request.steps = value),
              Flag.one(
                  "warmup_steps",
                  Flag.Group.RUN,
                  "COUNT",
                  "Steps before the first round, not measured.",
                  Flag::integer,
                  (request, value) -> request.warmUpSteps = value),
              Flag.one(
                  "rounds",
                  Flag.Group.RUN,
                  "COUNT",
                  "Rounds; each trains on the same pairs.",
                  Flag::integer,
                  (request, value) -> request.rounds = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of weights and pairs.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value),
              Flag.toggle(
                  "ops",
                  Flag.Group.RUN,
                  "Measure every op and matrix product with the sizes of a step instead.",
                  request -> request.ops = true),
              Flag.toggle(
                  "json",
                  Flag.Group.RUN,
                  "Print one JSON object instead of the table.",
                  request -> request.json = true),
              Flag.one(
                  "cuda_graphs",
                  Flag.Group.DEVICE,
                  "NAME",
                  "Replay what repeats in a step on a GPU: auto, on or off. Default: auto.",
                  Flag.choice(CudaOptions.Graphs.class),
                  (request, value) -> request.cudaGraphs = value),
              Flag.toggle(
                  "gradient_checkpointing",
                  Flag.Group.DEVICE,
                  "Recompute a layer's activations in the backward pass.",
                  request -> request.gradientCheckpointing = true),
              Flag.one(
                  "max_tokens_per_pack",
                  Flag.Group.DEVICE,
                  "TOKENS",
                  "Longest pack of pairs that is computed at once; 0: chosen.",
                  Flag::integer,
                  (request, value) -> request.maxTokensPerPack = value)));

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new BenchCommand());
    FLAGS.declare(spec, defaults());
    spec.usageMessage()
        .customSynopsis("gatun bench [--shape SHAPE | --model_name_or_path DIR] [OPTION]...");
    return spec;
  }

  static Request request(ParseResult parsed) {
    return FLAGS.apply(parsed, new Request());
  }

  private static Map<String, String> defaults() {
    Request request = new Request();
    return Map.ofEntries(
        Map.entry("shape", DEFAULT_SHAPE),
        Map.entry("dtype", request.dtype.toString()),
        Map.entry("prompt_tokens", request.promptTokens.toString()),
        Map.entry("answer_tokens", request.answerTokens.toString()),
        Map.entry("pairs", Integer.toString(request.pairs)),
        Map.entry("loss_type", request.loss.toString()),
        Map.entry("reference", request.reference.toString()),
        Map.entry("steps", Integer.toString(request.steps)),
        Map.entry("warmup_steps", Integer.toString(request.warmUpSteps)),
        Map.entry("rounds", Integer.toString(request.rounds)),
        Map.entry("seed", Long.toString(request.seed)),
        Map.entry("max_tokens_per_pack", Integer.toString(request.maxTokensPerPack)));
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = request(parsed);
    BenchmarkConfig config = request.config();
    PrintStream out = console.out();
    Consumer<String> notes = request.json ? _ -> {} : out::println;
    if (!request.json) {
      out.println(work(config));
    }
    if (request.ops) {
      ops(out, request, config, notes);
    } else {
      steps(out, request, config, notes);
    }
    return ExitCode.OK;
  }

  private static void steps(
      PrintStream out, Request request, BenchmarkConfig config, Consumer<String> notes) {
    int[] number = {0};
    Consumer<BenchmarkRound> progress =
        request.json
            ? _ -> {}
            : round ->
                out.printf(
                    Locale.ROOT,
                    "round %d/%d: %s pairs/s, %s s%n",
                    ++number[0],
                    config.rounds(),
                    Numbers.significant(round.pairsPerSecond(), 4),
                    Numbers.significant(round.seconds(), 4));
    BenchmarkReport report = StepBenchmark.run(config, notes, progress);
    if (request.json) {
      out.println(report.toJson());
    } else {
      table(out, report);
    }
  }

  private static void ops(
      PrintStream out, Request request, BenchmarkConfig config, Consumer<String> notes) {
    if (request.json) {
      out.println(OpsBenchmark.run(config, notes, _ -> {}).toJson());
      return;
    }
    boolean[] begun = {false};
    OpsReport report =
        OpsBenchmark.run(
            config,
            notes,
            op -> {
              if (!begun[0]) {
                out.printf(
                    "%n%-30s %10s  %-20s %10s %8s %10s %8s%n",
                    "", "ms", "lowest and highest", "GB/s", "of copy", "GFLOP/s", "of peak");
                begun[0] = true;
              }
              row(out, op);
            });
    out.println();
    value(out, "rows of an activation", String.format(Locale.ROOT, "%,d", report.tokens()));
    value(out, "copy GB/s", Numbers.significant(1e-9 * report.copyBytesPerSecond(), 4));
    value(out, "matmul GFLOP/s", Numbers.significant(1e-9 * report.peakFlopsPerSecond(), 4));
    report.peakBytes().ifPresent(bytes -> value(out, "peak memory", Numbers.bytes(bytes)));
  }

  private static void row(PrintStream out, OpsReport.Op op) {
    boolean computes = op.flops() > 0;
    String line =
        "%-30s %10s  %-20s %10s %8s %10s %8s"
            .formatted(
                op.name(),
                milliseconds(op.seconds().median()),
                milliseconds(op.seconds().lowest()) + " to " + milliseconds(op.seconds().highest()),
                Numbers.significant(1e-9 * op.bytesPerSecond(), 4),
                Numbers.significant(op.shareOfCopy(), 3),
                computes ? Numbers.significant(1e-9 * op.flopsPerSecond(), 4) : "",
                computes ? Numbers.significant(op.shareOfPeak(), 3) : "");
    out.println(line.stripTrailing());
  }

  private static String milliseconds(double seconds) {
    return Numbers.significant(1e3 * seconds, 4);
  }

  private static String work(BenchmarkConfig config) {
    return "work: %s, %d pairs a step, prompts of %s tokens, answers of %s, %s, reference %s"
        .formatted(
            config.model().title(),
            config.pairsPerStep(),
            config.promptTokens(),
            config.answerTokens(),
            config.loss(),
            config.reference());
  }

  private static void table(PrintStream out, BenchmarkReport report) {
    out.printf("%n%-22s %10s  %s%n", "", "median", "lowest and highest round");
    row(out, "pairs/s", report.over(BenchmarkRound::pairsPerSecond), 1);
    row(out, "tokens/s", report.over(BenchmarkRound::tokensPerSecond), 1);
    row(out, "useful GFLOP/s", report.over(BenchmarkRound::flopsPerSecond), 1e-9);
    row(out, "mfu", report.mfu(), 1);
    row(out, "step, ms", report.stepSeconds(), 1e3);
    for (String phase : report.phases()) {
      row(out, phase.equals("step") ? "  rest" : "  " + phase, report.phaseSeconds(phase), 1e3);
    }
    out.println();
    value(out, "parameters", String.format(Locale.ROOT, "%,d", report.parameters()));
    value(out, "useful GFLOP a pair", Numbers.significant(1e-9 * report.flopsPerPair(), 4));
    value(
        out,
        "matmul GFLOP/s",
        Numbers.significant(1e-9 * report.peakFlopsPerSecond(), 4) + ", which mfu is a part of");
    if (!Double.isNaN(report.referenceSeconds())) {
      value(
          out,
          "reference pass, s",
          Numbers.significant(report.referenceSeconds(), 4) + ", once before the steps");
    }
    report.peakBytes().ifPresent(bytes -> value(out, "peak memory", Numbers.bytes(bytes)));
  }

  private static void row(PrintStream out, String name, Spread spread, double unit) {
    out.printf(
        "%-22s %10s  %s to %s%n",
        name,
        Numbers.significant(unit * spread.median(), 4),
        Numbers.significant(unit * spread.lowest(), 4),
        Numbers.significant(unit * spread.highest(), 4));
  }

  private static void value(PrintStream out, String name, String value) {
    out.printf("%-22s %10s%n", name, value);
  }
}
