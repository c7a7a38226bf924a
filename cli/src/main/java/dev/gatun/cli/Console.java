package dev.gatun.cli;

import dev.gatun.report.ConsoleProgress;
import java.io.PrintStream;

/**
 * Where a command prints.
 *
 * @param out results and progress
 * @param progress whether {@code out} can redraw lines
 */
record Console(PrintStream out, ConsoleProgress.Style progress) {}
