package dev.gatun.hf;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.library.LwjglLibraryException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A model as transformers saves it: a folder with config.json, safetensors weights and a tokenizer.
 * Nothing is ever downloaded. The weights are mapped into memory until {@link #close}.
 */
public final class ModelDirectory implements AutoCloseable {
  /** Where transformers begins another file. */
  public static final long SHARD_BYTES = 5_000_000_000L;

  static final String CONFIG = "config.json";

  private static final long MAX_CONFIG_BYTES = 16L << 20;
  private static final Pattern HUB_ID = Pattern.compile("[\\w.-]+/[\\w.-]+");

  /** What a saved model takes over from the one it was trained from. */
  private static final List<String> SIDE_FILES =
      List.of(
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "tokenizer.model",
          "chat_template.jinja",
          "generation_config.json",
          "vocab.json",
          "merges.txt");

  private final Path path;
  private final ObjectNode config;
  private final Weights weights;

  private ModelDirectory(Path path, ObjectNode config, Weights weights) {
    this.path = path;
    this.config = config;
    this.weights = weights;
  }

  /**
   * Opens a model and checks its weight files against each other, but not against config.json.
   *
   * @throws FormatException if the folder is not a model, or one of its files is malformed
   */
  public static ModelDirectory open(Path path) {
    ObjectNode config = readConfig(path);
    return new ModelDirectory(path, config, Weights.open(path));
  }

  /**
   * The config.json of a model.
   *
   * @throws FormatException if the folder is not a model, or its config.json is malformed
   */
  public static ObjectNode readConfig(Path path) {
    if (!Files.isDirectory(path)) {
      throw new FormatException(path, notFolder(path));
    }
    Path file = path.resolve(CONFIG);
    if (!Files.isRegularFile(file)) {
      throw new FormatException(path, "holds no " + CONFIG + ": " + nearby(path));
    }
    return Json.readObject(file, MAX_CONFIG_BYTES);
  }

  public Path path() {
    return path;
  }

  /** The whole config.json. A copy. */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /** The names of all tensors, sorted. */
  public SequencedSet<String> names() {
    return weights.names();
  }

  /**
   * A tensor of the weights: f32, f16 or bf16.
   *
   * @throws FormatException if there is none of this name, or it is of another type
   */
  public StoredTensor tensor(String name) {
    return weights.tensor(path, name);
  }

  /**
   * Names the weights by their content: 32 hex digits of XXH3-128 over names, types, shapes and
   * bytes. It does not depend on files and their order, only on what they hold. Reads all weights.
   *
   * @throws LwjglLibraryException if the native library of xxHash cannot be loaded
   */
  public String fingerprint() {
    return WeightsFingerprint.of(weights.tensors());
  }

  /**
   * Tokenizer and generation files of the folder: name and bytes.
   *
   * @throws FormatException if one cannot be read
   */
  public static Map<String, byte[]> sideFiles(Path path) {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (String name : SIDE_FILES) {
      Path file = path.resolve(name);
      if (Files.isRegularFile(file)) {
        try {
          files.put(name, Files.readAllBytes(file));
        } catch (IOException e) {
          throw new FormatException(file, "cannot be read: " + WriteException.reason(e), e);
        }
      }
    }
    return files;
  }

  /**
   * Saves other weights of this model: with its configuration, its tokenizer and generation files.
   *
   * @throws WriteException if it cannot be written; {@code out} is then as it was
   */
  public void save(Path out, Collection<StoredTensor> tensors) {
    save(out, config, tensors, sideFiles(path));
  }

  /**
   * Saves a model. All of it is on the disk before any file of {@code out} changes, and a save that
   * is interrupted leaves no directory that loads. What else a directory holds stays in it.
   *
   * @param config its dtype is replaced by that of the tensors; keys that transformers renamed are
   *     written under both names
   * @param tensors in the order in which shards are filled
   * @param sideFiles tokenizer and generation files: name and bytes
   * @throws WriteException if it cannot be written; {@code out} is then as it was
   */
  public static void save(
      Path out,
      ObjectNode config,
      Collection<StoredTensor> tensors,
      Map<String, byte[]> sideFiles) {
    save(out, config, tensors, sideFiles, SHARD_BYTES);
  }

  /** As above, beginning another file before one would hold more than {@code shardBytes}. */
  public static void save(
      Path out,
      ObjectNode config,
      Collection<StoredTensor> tensors,
      Map<String, byte[]> sideFiles,
      long shardBytes) {
    new ModelSave(config, List.copyOf(tensors), sideFiles, shardBytes).writeTo(out);
  }

  @Override
  public void close() {
    weights.close();
  }

  private static String notFolder(Path path) {
    if (Files.exists(path)) {
      return "is a file, expected the folder of a model";
    }
    String id = path.toString();
    return HUB_ID.matcher(id).matches()
        ? "is not a folder here, and nothing is downloaded: get the model with 'hf download %s --local-dir %s' and run this again"
            .formatted(id, id)
        : "does not exist, expected the folder of a model with " + CONFIG;
  }

  /** Where the model may be instead. */
  private static String nearby(Path path) {
    if (Files.exists(path.resolve("adapter_config.json"))) {
      return "it is a PEFT adapter: merge it into its base model first";
    }
    try (Stream<Path> deeper = Files.find(path, 2, (file, _) -> file.endsWith(CONFIG))) {
      String found =
          deeper
              .map(file -> String.valueOf(file.getParent()))
              .sorted()
              .limit(3)
              .collect(Collectors.joining(", "));
      return found.isEmpty() ? "is it the folder of a model?" : "did you mean " + found + "?";
    } catch (IOException e) {
      throw new FormatException(path, "cannot be read: " + WriteException.reason(e), e);
    }
  }
}
