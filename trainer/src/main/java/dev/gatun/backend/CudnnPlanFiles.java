package dev.gatun.backend;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Texts that are costly to make again, kept in a folder: one JSON file for each key, with a
 * checksum, since cuDNN trusts a plan that it is given. Keys name everything that a text depends
 * on; a file whose key differs, or that is damaged, costs one warning and is made again. Files are
 * written aside and renamed, so that two processes do not disturb each other.
 */
final class CudnnPlanFiles {
  private static final int FORMAT = 1;

  /** Plans have about 100 to 300 kB. */
  private static final int MAX_BYTES = 64 << 20;

  private static final JsonMapper MAPPER =
      JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  static {
    MAPPER
        .getFactory()
        .setStreamReadConstraints(
            StreamReadConstraints.builder().maxStringLength(MAX_BYTES).build());
  }

  private final @Nullable Path folder;
  private final Consumer<String> warnings;
  private boolean writable = true;

  /**
   * @param folder null: nothing is kept
   * @param warnings takes one line for whatever is wrong
   */
  CudnnPlanFiles(@Nullable Path folder, Consumer<String> warnings) {
    this.folder = folder;
    this.warnings = warnings;
  }

  /** The text of a key, or null. */
  @Nullable String get(String key) {
    if (folder == null) {
      return null;
    }
    Path file = file(folder, key);
    try {
      if (Files.size(file) > MAX_BYTES) {
        return ignored(file, "has more than %d bytes".formatted(MAX_BYTES));
      }
      return read(file, key, Files.readAllBytes(file));
    } catch (NoSuchFileException e) {
      return null;
    } catch (IOException e) {
      return ignored(file, "cannot be read (%s)".formatted(e.getClass().getSimpleName()));
    }
  }

  private @Nullable String read(Path file, String key, byte[] bytes) throws IOException {
    JsonNode node;
    try {
      node = MAPPER.readTree(bytes);
    } catch (JsonProcessingException e) {
      return ignored(file, "is not JSON");
    }
    if (node.path("format").asInt() != FORMAT || !node.path("key").asText().equals(key)) {
      return ignored(file, "is not of format %d for %s".formatted(FORMAT, key));
    }
    String text = node.path("text").asText();
    if (!node.path("sha256").asText().equals(sha256(text))) {
      return ignored(file, "is damaged: its checksum differs");
    }
    return text;
  }

  /** Keeps a text, replacing what was there. */
  void put(String key, String text) {
    if (folder == null || !writable) {
      return;
    }
    ObjectNode node = MAPPER.createObjectNode();
    node.put("format", FORMAT);
    node.put("key", key);
    node.put("sha256", sha256(text));
    node.put("text", text);
    Path file = file(folder, key);
    Path draft =
        folder.resolve(".%s.%d.tmp".formatted(file.getFileName(), ProcessHandle.current().pid()));
    try {
      Files.createDirectories(folder);
      Files.write(draft, MAPPER.writeValueAsBytes(node));
      Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      writable = false;
      warnings.accept(
          "cuDNN's plans are not kept: cannot write %s (%s)"
              .formatted(file, e.getClass().getSimpleName()));
    }
  }

  /** Warns that a text was of no use after all. */
  void refused(String key, String reason) {
    if (folder != null) {
      String _ = ignored(file(folder, key), "was refused: " + reason);
    }
  }

  /** Where the text of a key lies. */
  static Path file(Path folder, String key) {
    return folder.resolve(key + ".json");
  }

  private @Nullable String ignored(Path file, String reason) {
    warnings.accept("%s %s; it is made again".formatted(file, reason));
    return null;
  }

  private static String sha256(String text) {
    try {
      return HexFormat.of()
          .formatHex(
              MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }
}
