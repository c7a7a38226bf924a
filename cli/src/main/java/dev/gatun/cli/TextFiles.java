package dev.gatun.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.data.JsonRow;
import dev.gatun.data.JsonRows;
import dev.gatun.hf.AtomicFiles;
import dev.gatun.train.ConfigException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Prompts as lines, and prompts with an answer as JSON lines. */
final class TextFiles {
  /** A prompt with one answer, in the columns that {@code gatun sft} reads. */
  record Answered(String prompt, String completion) {}

  private TextFiles() {}

  /**
   * The lines of a UTF-8 file.
   *
   * @param option names the file; for the error
   */
  static List<String> lines(String option, Path file) {
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      throw new ConfigException(option, "cannot be read as UTF-8 text: " + e);
    }
  }

  static void createFolder(Path folder) {
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot make the folder: " + e.getMessage(), e);
    }
  }

  static void writeLines(Path file, List<String> lines) {
    AtomicFiles.write(file, String.join("\n", lines) + "\n");
  }

  static List<Answered> readAnswered(Path file) {
    List<Answered> answered = new ArrayList<>();
    try (JsonRows rows = JsonRows.open(List.of(file))) {
      for (JsonRow row = rows.next(); row != null; row = rows.next()) {
        answered.add(new Answered(row.text("prompt"), row.text("completion")));
      }
    }
    return answered;
  }

  static void writeAnswered(Path file, List<Answered> rows) {
    writeLines(
        file,
        rows.stream()
            .map(row -> object().put("prompt", row.prompt()).put("completion", row.completion()))
            .map(ObjectNode::toString)
            .toList());
  }

  static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }
}
