package dev.gatun.cli;

import dev.gatun.report.ConsoleProgress;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Runs the program inside the test and keeps what it printed. */
record Cli(ExitCode exit, String out, String err) {
  static Cli run(List<String> args) {
    return run(args.toArray(String[]::new));
  }

  static Cli run(String... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    ExitCode exit;
    try (PrintStream outStream = new PrintStream(out, true, StandardCharsets.UTF_8);
        PrintStream errStream = new PrintStream(err, true, StandardCharsets.UTF_8)) {
      exit = Main.run(args, new Console(outStream, ConsoleProgress.Style.LINES), errStream);
    }
    return new Cli(
        exit, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  /** The one line that a failure prints; fails if there are more or fewer. */
  String error() {
    List<String> lines = err.lines().toList();
    if (lines.size() != 1 || !lines.getFirst().startsWith("gatun: ")) {
      throw new AssertionError("expected one line 'gatun: ...', got: " + err);
    }
    return lines.getFirst();
  }
}
