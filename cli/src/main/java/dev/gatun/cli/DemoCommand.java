package dev.gatun.cli;

import dev.gatun.train.ConfigException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/**
 * {@code gatun demo}: the controlled-sentiment experiment of the DPO paper (arXiv:2305.18290,
 * section 6.1) in small, as a sequence of commands that it prints and runs.
 */
final class DemoCommand implements Command {
  /** What was asked for. */
  static final class Request {
    Path outputDir = Path.of("demo");
    long seed = 42;
    final DeviceRequest device = new DeviceRequest();

    DemoPlan plan() {
      return new DemoPlan(outputDir, seed, device.words(), DemoPlan.Size.FULL);
    }
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          DeviceRequest.flags(request -> request.device),
          List.of(
              DeviceRequest.tf32(request -> request.device),
              Flag.one(
                  "output_dir",
                  Flag.Group.RUN,
                  "DIR",
                  "Folder of everything that is written. Default: demo.",
                  Flag::path,
                  (request, value) -> request.outputDir = value),
              Flag.one(
                  "seed",
                  Flag.Group.RUN,
                  "NUMBER",
                  "Seed of everything. Default: 42.",
                  Flag::longInteger,
                  (request, value) -> request.seed = value)));

  private static final Pattern PLAIN_WORD = Pattern.compile("[\\w./:=+-]+");

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DemoCommand());
    FLAGS.declare(spec, Map.of());
    spec.usageMessage().commandListHeading("%nSteps that have no command of their own:%n");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) throws Exception {
    return run(FLAGS.apply(parsed, new Request()).plan(), console);
  }

  static ExitCode run(DemoPlan plan, Console console) throws Exception {
    if (Files.exists(plan.folder().resolve("start"))) {
      throw new ConfigException(
          "output_dir",
          "%s already holds a demo; remove it, or name another folder".formatted(plan.folder()));
    }
    long started = System.nanoTime();
    PrintStream out = console.out();
    // A command that is typed prints its options too; here only what differs between runs is shown.
    try (PrintStream nothing =
        new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8)) {
      Console ofSteps = new Console(out, nothing, console.progress());
      for (List<String> command : plan.commands()) {
        out.println();
        out.println("$ " + typed(command));
        ExitCode exit = Main.run(command.toArray(String[]::new), ofSteps);
        if (exit != ExitCode.OK) {
          return exit;
        }
      }
    }
    long seconds = (System.nanoTime() - started) / 1_000_000_000;
    out.println();
    out.printf("The demo took %d min %02d s.%n", seconds / 60, seconds % 60);
    out.println("Try next, your own prompt: " + typed(next(plan)));
    return ExitCode.OK;
  }

  private static List<String> next(DemoPlan plan) {
    return List.of(
        "generate",
        "--model_name_or_path",
        plan.policy(DemoPlan.BETAS.getFirst()).toString(),
        "--prompt",
        "Last night I watched a western about a lost dog in Oslo.",
        "--temperature",
        "1");
  }

  /** The command for a shell, from the folder of the launcher. */
  private static String typed(List<String> command) {
    return command.stream()
        .map(
            word ->
                PLAIN_WORD.matcher(word).matches() ? word : "'" + word.replace("'", "'\\''") + "'")
        .collect(Collectors.joining(" ", "./gatun ", ""));
  }
}
