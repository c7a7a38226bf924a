package dev.gatun.store;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Scores of references, in a folder that any number of runs share, one after the other or at once.
 * Killing a process at any point loses at most what it was about to put. A value that was damaged
 * is as good as absent; it is counted, and putting it again replaces it.
 */
public final class ReferenceStore implements AutoCloseable {
  private final Path folder;
  private final Lmdb lmdb;
  private long damaged;
  private boolean open = true;

  private ReferenceStore(Path folder, Lmdb lmdb) {
    this.folder = folder;
    this.lmdb = lmdb;
  }

  /**
   * Opens a store, making its folder if it is not there.
   *
   * @throws StoreException if the folder cannot be made, read or written
   * @throws dev.gatun.hf.FormatException if it holds something else, or was cut
   */
  public static ReferenceStore open(Path folder) {
    return new ReferenceStore(folder, Lmdb.open(folder));
  }

  /** {@code $XDG_CACHE_HOME/gatun/reference}, by default {@code ~/.cache/gatun/reference}. */
  public static Path userFolder() {
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base =
        xdg == null || xdg.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(xdg);
    return base.resolve("gatun").resolve("reference");
  }

  public Path folder() {
    return folder;
  }

  /** Scores by key, in the order of the keys; null where there are none that can be trusted. */
  public List<@Nullable AnswerLogProbs> find(List<ReferenceKey> keys) {
    List<byte @Nullable []> values = lmdb.get(keys.stream().map(ReferenceKey::bytes).toList());
    List<@Nullable AnswerLogProbs> found = new ArrayList<>();
    for (int i = 0; i < keys.size(); i++) {
      byte[] value = values.get(i);
      AnswerLogProbs scores = value == null ? null : AnswerLogProbs.decode(keys.get(i), value);
      if (value != null && scores == null) {
        damaged++;
      }
      found.add(scores);
    }
    return found;
  }

  /**
   * Keeps scores, all of them or, if this fails, none.
   *
   * @throws StoreException if they cannot be written
   */
  public void put(Map<ReferenceKey, AnswerLogProbs> scores) {
    lmdb.put(
        scores.entrySet().stream()
            .map(
                entry ->
                    new Lmdb.Entry(entry.getKey().bytes(), entry.getValue().encode(entry.getKey())))
            .toList());
  }

  /** Number of pairs that it has scores of, of all references together. */
  public long size() {
    return lmdb.entries();
  }

  /** Values found so far that were damaged. */
  public long damaged() {
    return damaged;
  }

  @Override
  public void close() {
    if (open) {
      open = false;
      lmdb.close();
    }
  }
}
