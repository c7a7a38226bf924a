package dev.gatun.cli;

import dev.gatun.report.ConsoleProgress;
import java.io.PrintStream;

/**
 * Where a command prints.
 *
 * @param out results and progress
 * @param settings the options of a run as it begins
 * @param progress whether {@code out} can redraw lines
 */
record Console(PrintStream out, PrintStream settings, ConsoleProgress.Style progress) {
  /** Prints the settings where results go. */
  Console(PrintStream out, ConsoleProgress.Style progress) {
    this(out, out, progress);
  }
}
