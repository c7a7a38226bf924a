package dev.gatun.cli;

import picocli.CommandLine.ParseResult;

/** One of the commands. */
interface Command {
  /**
   * Does the command's work; whatever it throws becomes one line and an {@link ExitCode}.
   *
   * @param parsed the command's own options
   */
  ExitCode run(ParseResult parsed, Console console) throws Exception;
}
