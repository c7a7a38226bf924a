package dev.gatun.backend;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The algorithms that were chosen for matrix products, kept for later runs: two runs that choose
 * alike compute the same bits. One line each, {@code kind = algorithm in hexadecimal}; where two
 * processes wrote, the first line of a kind counts.
 *
 * <p>What cannot be read or written costs a warning, no more: it is timed again.
 */
final class AlgorithmFile {
  private static final String HEADER = "# gatun: algorithms of cuBLASLt, format 1";
  private static final Pattern LINE = Pattern.compile("([^=]+) = ([0-9a-f]+)");

  private final @Nullable Path file;
  private final Consumer<String> warnings;
  private final Map<String, String> algorithms = new HashMap<>();
  private boolean writable;

  private AlgorithmFile(@Nullable Path file, Consumer<String> warnings) {
    this.file = file;
    this.warnings = warnings;
  }

  /**
   * Reads a file, or begins one.
   *
   * @param file null: nothing is kept
   * @param algorithmBytes size of an algorithm
   * @param warnings takes one line for whatever is wrong
   */
  static AlgorithmFile open(@Nullable Path file, int algorithmBytes, Consumer<String> warnings) {
    AlgorithmFile algorithms = new AlgorithmFile(file, warnings);
    if (file != null) {
      algorithms.read(file, algorithmBytes);
    }
    return algorithms;
  }

  /** What was chosen for problems of a kind, or null. */
  byte @Nullable [] get(String kind) {
    String algorithm = algorithms.get(kind);
    return algorithm == null ? null : HexFormat.of().parseHex(algorithm);
  }

  /** Keeps a choice. */
  void put(String kind, byte[] algorithm) {
    String hex = HexFormat.of().formatHex(algorithm);
    if (algorithms.putIfAbsent(kind, hex) == null && writable && file != null) {
      append(file, kind + " = " + hex);
    }
  }

  /** The file that choices are kept in, or null if they are not kept. */
  @Nullable Path keptIn() {
    return writable ? file : null;
  }

  private void read(Path path, int algorithmBytes) {
    List<String> lines;
    try {
      Path folder = path.toAbsolutePath().getParent();
      if (folder != null) {
        Files.createDirectories(folder);
      }
      lines = Files.exists(path) ? Files.readAllLines(path, StandardCharsets.UTF_8) : List.of();
    } catch (CharacterCodingException e) {
      warnings.accept(path + " is not text and was ignored; delete it");
      return;
    } catch (IOException e) {
      warnings.accept(
          "choices of algorithms are not kept: %s (%s)"
              .formatted(path, e.getClass().getSimpleName() + ": " + e.getMessage()));
      return;
    }
    if (lines.isEmpty()) {
      writable = true;
      append(path, HEADER);
      return;
    }
    if (!lines.getFirst().equals(HEADER)) {
      warnings.accept(
          "%s begins with '%s', expected '%s'; it was ignored; delete it"
              .formatted(path, shortened(lines.getFirst()), HEADER));
      return;
    }
    writable = true;
    for (int i = 1; i < lines.size(); i++) {
      Matcher line = LINE.matcher(lines.get(i));
      if (line.matches() && line.group(2).length() == 2 * algorithmBytes) {
        algorithms.putIfAbsent(line.group(1), line.group(2));
      } else {
        warnings.accept(
            "%s:%d is damaged and was ignored: '%s'"
                .formatted(path, i + 1, shortened(lines.get(i))));
      }
    }
  }

  /** One write of a whole line, so that those of two processes do not mix. */
  private void append(Path path, String line) {
    try {
      Files.writeString(path, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      writable = false;
      warnings.accept(
          "choices of algorithms are not kept: cannot write %s (%s)"
              .formatted(path, e.getClass().getSimpleName()));
    }
  }

  private static String shortened(String line) {
    String shown = line.replaceAll("\\p{Cntrl}", "?");
    return shown.length() <= 60 ? shown : shown.substring(0, 60) + "...";
  }
}
