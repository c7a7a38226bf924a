package dev.gatun.hf;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The golden files of the test resources. */
final class Goldens {
  static final Path FOLDER = Path.of("src/test/resources/goldens");
  static final Path MODELS = FOLDER.resolve("models");

  private Goldens() {}

  /** The paths of all model directories. */
  static List<Path> models() throws IOException {
    return list(MODELS);
  }

  /** What a folder holds, sorted. */
  static List<Path> list(Path folder) throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.sorted().toList();
    }
  }
}
