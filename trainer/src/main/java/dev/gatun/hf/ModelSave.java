package dev.gatun.hf;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Writes a model directory. All files are first written into a hidden folder of this process on the
 * same disk. A new directory is then that folder, renamed. In one that exists, the file that makes
 * a model complete (model.safetensors or the index) is taken away first and put back last, so at no
 * moment do old and new parts look like one model.
 */
final class ModelSave {
  static final String DRAFT_PREFIX = ".gatun-save-";

  private static final Predicate<String> IS_SHARD =
      Pattern.compile("model-\\d{5}-of-\\d{5}\\.safetensors").asMatchPredicate();

  private final Map<String, List<StoredTensor>> shards;

  /** All files but the weights. */
  private final Map<String, byte[]> smallFiles;

  private final long sizeBytes;

  ModelSave(
      ObjectNode config,
      List<StoredTensor> tensors,
      Map<String, byte[]> sideFiles,
      long shardBytes) {
    this.shards = shards(tensors, shardBytes);
    this.smallFiles = new TreeMap<>(sideFiles);
    smallFiles.put(
        ModelDirectory.CONFIG, ConfigJson.text(ConfigJson.underBothNames(config, tensors)));
    if (shards.size() > 1) {
      smallFiles.put(WeightIndex.FILE_NAME, ConfigJson.text(WeightIndex.toJson(shards)));
    }
    long small = smallFiles.values().stream().mapToLong(bytes -> bytes.length).sum();
    this.sizeBytes = Math.addExact(SafetensorsWriter.dataBytes(tensors), small);
  }

  void writeTo(Path out) {
    Path directory = out.toAbsolutePath().normalize();
    try {
      if (Files.isDirectory(directory)) {
        update(directory);
      } else {
        create(directory);
      }
    } catch (IOException e) {
      throw AtomicFiles.failure(out, sizeBytes, e);
    }
  }

  private void create(Path directory) throws IOException {
    if (Files.exists(directory)) {
      throw new WriteException(directory, "is a file, expected a folder or nothing");
    }
    Path parent = AtomicFiles.folderOf(directory);
    Files.createDirectories(parent);
    Path draft = draft(parent, "." + directory.getFileName() + DRAFT_PREFIX);
    try {
      fill(directory, draft);
      Files.move(draft, directory, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      delete(draft);
    }
    AtomicFiles.force(parent);
  }

  private void update(Path directory) throws IOException {
    Path draft = draft(directory, DRAFT_PREFIX);
    try {
      fill(directory, draft);
    } catch (IOException | RuntimeException | Error e) {
      delete(draft);
      throw e;
    }
    try {
      publish(draft, directory);
    } catch (IOException e) {
      throw new WriteException(
          directory,
          "is incomplete: %s; the files that are not in place yet are in %s"
              .formatted(WriteException.reason(e), draft),
          e);
    }
    delete(draft);
  }

  private void publish(Path draft, Path directory) throws IOException {
    Files.deleteIfExists(directory.resolve(Weights.SINGLE_FILE));
    Files.deleteIfExists(directory.resolve(WeightIndex.FILE_NAME));
    AtomicFiles.force(directory);
    List<String> names = new ArrayList<>(smallFiles.keySet());
    names.addAll(shards.keySet());
    String last = shards.size() > 1 ? WeightIndex.FILE_NAME : Weights.SINGLE_FILE;
    names.remove(last);
    for (String name : names) {
      publish(draft, directory, name);
    }
    deleteOldShards(directory);
    AtomicFiles.force(directory);
    publish(draft, directory, last);
    AtomicFiles.force(directory);
  }

  private static void publish(Path draft, Path directory, String name) throws IOException {
    Files.move(draft.resolve(name), directory.resolve(name), StandardCopyOption.ATOMIC_MOVE);
  }

  private void fill(Path directory, Path draft) throws IOException {
    AtomicFiles.requireSpace(directory, AtomicFiles.folderOf(draft), sizeBytes);
    for (Map.Entry<String, byte[]> file : smallFiles.entrySet()) {
      byte[] bytes = file.getValue();
      AtomicFiles.replace(
          draft.resolve(file.getKey()),
          channel -> AtomicFiles.writeFully(channel, ByteBuffer.wrap(bytes)));
    }
    for (Map.Entry<String, List<StoredTensor>> shard : shards.entrySet()) {
      AtomicFiles.replace(
          draft.resolve(shard.getKey()), SafetensorsWriter.content(shard.getValue()));
    }
  }

  private void deleteOldShards(Path directory) throws IOException {
    for (Path file : list(directory)) {
      String name = String.valueOf(file.getFileName());
      if (IS_SHARD.test(name) && !shards.containsKey(name)) {
        Files.delete(file);
      }
    }
  }

  /** A new folder of this process, after removing those of processes that are gone. */
  private static Path draft(Path parent, String prefix) throws IOException {
    for (Path entry : list(parent)) {
      String name = String.valueOf(entry.getFileName());
      if (name.startsWith(prefix) && !isAlive(name.substring(prefix.length()))) {
        delete(entry);
      }
    }
    return Files.createDirectory(parent.resolve(prefix + ProcessHandle.current().pid()));
  }

  private static boolean isAlive(String processId) {
    try {
      long id = Long.parseLong(processId);
      return id != ProcessHandle.current().pid() && ProcessHandle.of(id).isPresent();
    } catch (NumberFormatException e) {
      return true;
    }
  }

  private static List<Path> list(Path directory) throws IOException {
    try (var entries = Files.list(directory)) {
      return entries.toList();
    }
  }

  private static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    Files.walkFileTree(
        folder,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path directory, @Nullable IOException failure)
              throws IOException {
            Files.delete(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /**
   * Tensors in their order, a new file where the next would exceed the limit, as Hugging Face's.
   */
  private static Map<String, List<StoredTensor>> shards(
      List<StoredTensor> tensors, long shardBytes) {
    List<List<StoredTensor>> groups = new ArrayList<>();
    long groupBytes = 0;
    for (StoredTensor tensor : tensors) {
      if (groups.isEmpty() || groupBytes + tensor.sizeBytes() > shardBytes) {
        groups.add(new ArrayList<>());
        groupBytes = 0;
      }
      groups.getLast().add(tensor);
      groupBytes += tensor.sizeBytes();
    }
    if (groups.isEmpty()) {
      throw new IllegalArgumentException("a model without tensors");
    }
    Map<String, List<StoredTensor>> shards = new LinkedHashMap<>();
    for (int i = 0; i < groups.size(); i++) {
      String name =
          groups.size() == 1
              ? Weights.SINGLE_FILE
              : "model-%05d-of-%05d.safetensors".formatted(i + 1, groups.size());
      shards.put(name, groups.get(i));
    }
    return shards;
  }
}
