package dev.gatun.cli;

import dev.gatun.memory.GatunException;
import dev.gatun.report.ConsoleProgress;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** The program {@code gatun}: finds the command, runs it, turns failures into a line and a code. */
public final class Main {
  private static final String VERBOSE = "--verbose";

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
    CommandLine commands = new CommandLine(spec());
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

  static CommandSpec spec() {
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
    add(spec, "dpo", DpoCommand.spec());
    add(spec, "sft", SftCommand.spec());
    add(spec, "generate", GenerateCommand.spec());
    add(spec, "init", InitCommand.spec());
    add(spec, "demo", demo());
    add(spec, "doctor", DoctorCommand.spec());
    add(spec, "selftest", SelfTestCommand.spec());
    add(spec, "bench", BenchCommand.spec());
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
