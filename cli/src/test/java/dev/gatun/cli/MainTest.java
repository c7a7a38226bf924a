package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class MainTest {
  @Test
  void helpListsCommandsAndExitCodes() {
    Cli cli = Cli.run("--help");
    assertEquals(ExitCode.OK, cli.exit());
    commands()
        .forEach(
            name -> assertTrue(cli.out().matches("(?s).*\n  " + name + " +[A-Z].*"), cli.out()));
    assertTrue(cli.out().contains("130 "), cli.out());
    assertEquals(cli.out(), Cli.run().out());
  }

  static Stream<String> commands() {
    return Main.spec().subcommands().keySet().stream();
  }

  @ParameterizedTest
  @MethodSource("commands")
  void eachCommandHasHelpWithinAHundredColumns(String command) {
    Cli cli = Cli.run(command, "--help");
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertTrue(cli.out().contains("gatun " + command), cli.out());
    assertTrue(cli.out().lines().allMatch(line -> line.length() <= 100), cli.out());
  }

  @Test
  void versionIsOneLine() {
    Cli cli = Cli.run("--version");
    assertEquals(ExitCode.OK, cli.exit());
    assertTrue(cli.out().matches("gatun .+\\R"), cli.out());
  }

  @Test
  void anUnknownCommandIsCorrected() {
    Cli cli = Cli.run("dop");
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().contains("there is no dop; did you mean dpo?"), cli.error());
  }

  @Test
  void theStackIsShownOnlyWhenAskedFor() {
    assertEquals(1, Cli.run("dpo").err().lines().count());
    Cli verbose = Cli.run("dpo", "--verbose");
    assertTrue(verbose.err().contains("\tat dev.gatun"), verbose.err());
  }
}
