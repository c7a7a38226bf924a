package dev.gatun.cli;

import dev.gatun.memory.GatunException;
import dev.gatun.report.ConsoleProgress;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.Supplier;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** The program {@code gatun}: finds the command, runs it, turns failures into a line and a code. */
public final class Main {
  private static final String VERBOSE = "--verbose";

  /**
   * A command.
   *
   * @param description what it does, for the help
   * @param options declares them
   */
  private record Entry(String name, String description, Supplier<CommandSpec> options) {}

  private static final List<Entry> COMMANDS =
      List.of(
          new Entry(
              "dpo", "Trains a model from preference pairs: DPO and its family.", DpoCommand::spec),
          new Entry(
              "sft",
              "Trains a model on texts, or on prompts with one answer each.",
              SftCommand::spec),
          new Entry(
              "score",
              "Scores preference pairs with a reference, into the reference store or a file.",
              ScoreCommand::spec),
          new Entry(
              "generate",
              "Continues prompts with a model; each text is printed after its prompt.",
              GenerateCommand::spec),
          new Entry(
              "init",
              "Makes a model directory with random weights, to train from nothing.",
              InitCommand::spec),
          new Entry(
              "demo",
              "Shows DPO at work in under three minutes: a small model learns to write film reviews,"
                  + " then to write positive ones. Prints each command that it runs.",
              Main::demo),
          new Entry(
              "doctor", "Shows what this machine and this build can do.", DoctorCommand::spec),
          new Entry(
              "selftest",
              "Runs every op on this machine against its formula in double precision, and a short"
                  + " training run.",
              SelfTestCommand::spec),
          new Entry(
              "bench",
              "Measures whole training steps on pairs of random tokens.",
              BenchCommand::spec),
          new Entry(
              "plan",
              "Prints the memory that a run of gatun dpo would take, by class, on this machine or"
                  + " another; nothing is trained.",
              PlanCommand::spec));

  private Main() {}

  /** Runs one command and ends the process with its exit code. */
  public static void main(String[] args) {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    PrintStream err = new PrintStream(System.err, true, StandardCharsets.UTF_8);
    ConsoleProgress.Style style =
        Optional.ofNullable(System.console()).filter(java.io.Console::isTerminal).isPresent()
            ? ConsoleProgress.Style.BAR
            : ConsoleProgress.Style.LINES;
    System.exit(run(args, new Console(out, style), err).code());
  }

  /**
   * Runs one command.
   *
   * @param err where one line about a failure goes; with {@code --verbose}, its stack too
   */
  static ExitCode run(String[] args, Console console, PrintStream err) {
    try {
      return run(args, console);
    } catch (Exception | LinkageError | OutOfMemoryError e) {
      ExitCode exit = ExitCode.of(e);
      err.println("gatun: " + line(e, exit));
      if (Arrays.asList(args).contains(VERBOSE)) {
        e.printStackTrace(err);
      }
      return exit;
    }
  }

  /** Runs one command; its failure is thrown. */
  static ExitCode run(String[] args, Console console) throws Exception {
    String name = Arrays.stream(args).filter(arg -> !arg.startsWith("-")).findFirst().orElse("");
    CommandLine commands = new CommandLine(spec(name::equals));
    commands.setUsageHelpAutoWidth(true);
    ParseResult parsed = commands.parseArgs(Arguments.normalize(args, commands));
    ParseResult subcommand = parsed.subcommand();
    while (subcommand != null && subcommand.hasSubcommand()) {
      subcommand = subcommand.subcommand();
    }
    CommandLine asked = (subcommand == null ? parsed : subcommand).commandSpec().commandLine();
    if (asked.isUsageHelpRequested() || (subcommand == null && !parsed.isVersionHelpRequested())) {
      asked.usage(console.out());
      return ExitCode.OK;
    }
    if (parsed.isVersionHelpRequested()) {
      console.out().println("gatun " + version());
      return ExitCode.OK;
    }
    Command command = (Command) subcommand.commandSpec().userObject();
    return command.run(subcommand, console);
  }

  /** All commands with all their options. */
  static CommandSpec spec() {
    return spec(_ -> true);
  }

  /**
   * All commands.
   *
   * @param complete which of them with their options: declaring those of all takes longer than the
   *     virtual machine takes to start
   */
  private static CommandSpec spec(Predicate<String> complete) {
    CommandSpec spec = CommandSpec.create().name("gatun");
    spec.addOption(
        OptionSpec.builder("-V", "--version")
            .versionHelp(true)
            .description("Show the version.")
            .build());
    addCommon(spec);
    spec.usageMessage()
        .description("Trains language models from preference pairs, exactly.")
        .synopsisSubcommandLabel("COMMAND")
        .commandListHeading("%nCommands:%n")
        .exitCodeListHeading("%nExit codes:%n")
        .exitCodeList(ExitCode.list());
    for (Entry entry : COMMANDS) {
      CommandSpec command = complete.test(entry.name) ? entry.options.get() : CommandSpec.create();
      command.usageMessage().description(entry.description);
      add(spec, entry.name, command);
    }
    return spec;
  }

  private static CommandSpec demo() {
    CommandSpec demo = DemoCommand.spec();
    add(demo, "reviews", DemoReviewsCommand.spec());
    add(demo, "label", DemoLabelCommand.spec());
    add(demo, "measure", DemoMeasureCommand.spec());
    return demo;
  }

  private static void add(CommandSpec spec, String name, CommandSpec command) {
    command.name(name);
    command.usageMessage().sortOptions(false).longOptionsMaxWidth(30);
    addCommon(command);
    spec.addSubcommand(name, command);
  }

  private static void addCommon(CommandSpec spec) {
    spec.addOption(
        OptionSpec.builder("-h", "--help").usageHelp(true).description("Show this help.").build());
    spec.addOption(
        OptionSpec.builder(VERBOSE)
            .type(boolean.class)
            .description("Show the stack of a failure.")
            .build());
  }

  /** One line: the message if it was written for people, else what happened. */
  private static String line(Throwable failure, ExitCode exit) {
    String message = failure.getMessage();
    boolean forPeople = exit != ExitCode.FAILURE || failure instanceof GatunException;
    String line =
        message != null && forPeople
            ? message
            : "unexpected failure: " + failure + " (--verbose shows where)";
    return line.lines().findFirst().orElse(line);
  }

  static String version() {
    String version = Main.class.getPackage().getImplementationVersion();
    return version == null ? "development build" : version;
  }
}
