package dev.gatun.hf;

import dev.gatun.memory.ReleasedException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedSet;

/**
 * A safetensors file, mapped into memory: tensors are read from the disk when their data is. The
 * file must keep its length while it is open; all segments end with {@link #close}.
 */
public final class SafetensorsFile implements AutoCloseable {
  private final Path file;
  private final Arena arena;
  private final Map<String, String> metadata;
  private final LinkedHashMap<String, StoredTensor> tensors = new LinkedHashMap<>();

  private SafetensorsFile(Path file, Arena arena, SafetensorsHeader.Contents contents) {
    this.file = file;
    this.arena = arena;
    this.metadata = Collections.unmodifiableMap(contents.metadata());
    contents.tensors().forEach(tensor -> tensors.put(tensor.name(), tensor));
  }

  /**
   * Opens a file and checks all that its header says.
   *
   * @throws FormatException if it is not a safetensors file, or cannot be read
   */
  public static SafetensorsFile open(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new FormatException(
          file, Files.exists(file) ? "is not a file, expected safetensors" : "does not exist");
    }
    Arena arena = Arena.ofShared();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      MemorySegment bytes = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      return new SafetensorsFile(file, arena, SafetensorsHeader.parse(file, bytes));
    } catch (IOException e) {
      arena.close();
      throw new FormatException(file, "cannot be read: " + WriteException.reason(e), e);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  public Path file() {
    return file;
  }

  /** What the writer noted; {@code format} is "pt" in most files. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** All names, in the order of the data. */
  public SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(tensors.sequencedKeySet());
  }

  /** All tensors, in the order of the data. */
  public Collection<StoredTensor> tensors() {
    requireOpen();
    return Collections.unmodifiableCollection(tensors.values());
  }

  /**
   * A tensor of any type.
   *
   * @throws FormatException if there is none of this name
   */
  public StoredTensor tensor(String name) {
    requireOpen();
    StoredTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new FormatException(
          file, "has no tensor %s among its %d".formatted(Shown.quoted(name), tensors.size()));
    }
    return tensor;
  }

  /**
   * A tensor that weights can be loaded from: f32, f16 or bf16.
   *
   * @throws FormatException if there is none of this name, or it is of another type
   */
  public StoredTensor weight(String name) {
    StoredTensor tensor = tensor(name);
    if (!ElementType.WEIGHTS.contains(tensor.type())) {
      throw new FormatException(
          file,
          "%s is %s, expected one of %s; take the unquantized weights"
              .formatted("tensor " + Shown.quoted(name), tensor.type(), ElementType.WEIGHTS));
    }
    return tensor;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  private void requireOpen() {
    if (!arena.scope().isAlive()) {
      throw new ReleasedException(file.toString());
    }
  }
}
