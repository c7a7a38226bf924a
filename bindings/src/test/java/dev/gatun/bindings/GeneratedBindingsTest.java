package dev.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The generated bindings are what jextract made of today's headers. */
final class GeneratedBindingsTest {
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
  private static final String GENERATED = "bindings/src/generated/java";
  private static final String REMEDY =
      "; run bindings/jextract/generate.sh and commit what it wrote";

  /** A line of the checksum file, in the format of sha256sum. */
  private record Checksum(String sha256, String path) {
    static Checksum parse(String line) {
      String[] parts = line.split(" {2}", 2);
      return new Checksum(parts[0], parts[1]);
    }
  }

  @Test
  void everyHeaderAndGeneratedFileIsTheOneThatWasChecksummed() throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (Checksum checksum : checksums()) {
      Path file = ROOT.resolve(checksum.path());
      if (!Files.isRegularFile(file)) {
        fail(checksum.path() + " is missing; run ./mvnw -pl native compile" + REMEDY);
      }
      String actual = HexFormat.of().formatHex(digest.digest(Files.readAllBytes(file)));
      assertEquals(checksum.sha256(), actual, () -> checksum.path() + " has changed" + REMEDY);
    }
  }

  @Test
  void everyGeneratedFileIsChecksummed() throws IOException {
    Set<String> known = checksums().stream().map(Checksum::path).collect(Collectors.toSet());
    try (Stream<Path> files = Files.walk(ROOT.resolve(GENERATED))) {
      Set<String> unknown =
          files
              .filter(Files::isRegularFile)
              .map(file -> ROOT.relativize(file).toString())
              .filter(file -> !known.contains(file))
              .collect(Collectors.toCollection(TreeSet::new));
      assertEquals(Set.of(), unknown, () -> "not written by generate.sh" + REMEDY);
    }
  }

  private static Set<Checksum> checksums() throws IOException {
    try (Stream<String> lines = Files.lines(ROOT.resolve("bindings/jextract/checksums.sha256"))) {
      return lines.map(Checksum::parse).collect(Collectors.toSet());
    }
  }
}
