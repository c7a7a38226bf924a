package dev.gatun.hf;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.TreeMap;
import java.util.stream.Stream;

/** The weights of a model directory: one safetensors file, or an index and its shards. */
final class Weights implements AutoCloseable {
  static final String SINGLE_FILE = "model.safetensors";

  private static final long MAX_INDEX_BYTES = 64L << 20;

  private final List<SafetensorsFile> files;

  /** The file of each tensor, by the tensor's name. */
  private final TreeMap<String, SafetensorsFile> fileOf = new TreeMap<>();

  private Weights(List<SafetensorsFile> files) {
    this.files = files;
  }

  /**
   * Opens the weights of a folder; a FormatException says what is missing or contradicts itself.
   */
  static Weights open(Path folder) {
    boolean isSingle = Files.exists(folder.resolve(SINGLE_FILE));
    boolean isSharded = Files.exists(folder.resolve(WeightIndex.FILE_NAME));
    if (isSingle && isSharded) {
      throw new FormatException(
          folder,
          "holds both %s and %s: remove the one that is not meant"
              .formatted(SINGLE_FILE, WeightIndex.FILE_NAME));
    }
    if (!isSingle && !isSharded) {
      throw new FormatException(folder, "holds no weights: " + missing(folder));
    }
    List<SafetensorsFile> files = new ArrayList<>();
    Weights weights = new Weights(files);
    try {
      if (isSingle) {
        weights.openSingle(folder.resolve(SINGLE_FILE));
      } else {
        weights.openShards(folder.resolve(WeightIndex.FILE_NAME));
      }
      return weights;
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(fileOf.navigableKeySet());
  }

  /** A tensor that weights can be loaded from; a FormatException if there is no such one. */
  StoredTensor tensor(Path folder, String name) {
    SafetensorsFile file = fileOf.get(name);
    if (file == null) {
      throw new FormatException(
          folder,
          "has no tensor %s among its %d; the weights belong to another model than config.json"
              .formatted(Shown.quoted(name), fileOf.size()));
    }
    return file.weight(name);
  }

  /** All tensors, of any type, by name. */
  List<StoredTensor> tensors() {
    return fileOf.entrySet().stream().map(e -> e.getValue().tensor(e.getKey())).toList();
  }

  @Override
  public void close() {
    files.forEach(SafetensorsFile::close);
  }

  private void openSingle(Path path) {
    SafetensorsFile file = open(path, files);
    file.names().forEach(name -> fileOf.put(name, file));
    if (fileOf.isEmpty()) {
      throw new FormatException(path, "holds no tensors");
    }
  }

  private void openShards(Path indexFile) {
    WeightIndex index = readIndex(indexFile);
    Map<String, SafetensorsFile> shards = new LinkedHashMap<>();
    for (String name : index.files()) {
      Path shard = indexFile.resolveSibling(name);
      if (!Files.isRegularFile(shard)) {
        throw new FormatException(
            shard,
            "is missing, but %s puts tensors into it: fetch it again"
                .formatted(WeightIndex.FILE_NAME));
      }
      shards.put(name, open(shard, files));
    }
    index.shards().forEach((tensor, shard) -> fileOf.put(tensor, shards.get(shard)));
    shards.values().forEach(shard -> requireListed(indexFile, index, shard));
    for (Map.Entry<String, SafetensorsFile> entry : fileOf.entrySet()) {
      if (!entry.getValue().names().contains(entry.getKey())) {
        throw new FormatException(
            entry.getValue().file(),
            "has no tensor %s, but %s puts it there"
                .formatted(Shown.quoted(entry.getKey()), WeightIndex.FILE_NAME));
      }
    }
    long totalBytes = SafetensorsWriter.dataBytes(tensors());
    if (index.totalBytes().orElse(totalBytes) != totalBytes) {
      throw new FormatException(
          indexFile,
          "metadata.total_size is %d, but the tensors of its files are %d bytes"
              .formatted(index.totalBytes().getAsLong(), totalBytes));
    }
  }

  private static SafetensorsFile open(Path path, List<SafetensorsFile> opened) {
    SafetensorsFile file = SafetensorsFile.open(path);
    opened.add(file);
    return file;
  }

  /** Refuses what a shard holds beyond the index: another copy of a tensor, or an unknown one. */
  private static void requireListed(Path indexFile, WeightIndex index, SafetensorsFile shard) {
    String fileName = String.valueOf(shard.file().getFileName());
    for (String tensor : shard.names()) {
      String listed = index.shards().get(tensor);
      if (!fileName.equals(listed)) {
        throw new FormatException(
            indexFile,
            "%s holds tensor %s, which weight_map %s"
                .formatted(
                    fileName,
                    Shown.quoted(tensor),
                    listed == null ? "does not list" : "puts into " + listed));
      }
    }
  }

  private static WeightIndex readIndex(Path file) {
    try {
      if (Files.size(file) > MAX_INDEX_BYTES) {
        throw new FormatException(
            file, "is %d bytes, expected at most %d".formatted(Files.size(file), MAX_INDEX_BYTES));
      }
      return WeightIndex.parse(file, Files.readAllBytes(file));
    } catch (IOException e) {
      throw new FormatException(file, "cannot be read: " + WriteException.reason(e), e);
    }
  }

  private static String missing(Path folder) {
    String looked = "looked for %s and %s".formatted(SINGLE_FILE, WeightIndex.FILE_NAME);
    if (Files.exists(folder.resolve("adapter_config.json"))) {
      return looked + "; it is a PEFT adapter: merge it into its base model first";
    }
    if (Files.exists(folder.resolve("pytorch_model.bin"))
        || Files.exists(folder.resolve("pytorch_model.bin.index.json"))) {
      return looked + "; convert pytorch_model.bin with transformers: load it and save_pretrained";
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .map(entry -> String.valueOf(entry.getFileName()))
          .filter(name -> name.startsWith(ModelSave.DRAFT_PREFIX))
          .findFirst()
          .map(
              draft ->
                  looked
                      + "; a save was interrupted, and what it had yet to put here is in "
                      + draft)
          .orElse(looked);
    } catch (IOException e) {
      throw new FormatException(folder, "cannot be read: " + WriteException.reason(e), e);
    }
  }
}
