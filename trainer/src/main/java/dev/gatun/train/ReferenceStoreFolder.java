package dev.gatun.train;

import dev.gatun.store.ReferenceStore;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Where a run keeps the reference's log-probabilities for later runs.
 *
 * @param kind whether they are kept, and who chose the folder
 * @param path the folder; null if there is none
 */
public record ReferenceStoreFolder(Kind kind, @Nullable Path path) {
  /** Who chose the folder. */
  public enum Kind {
    /** {@link ReferenceStore#userFolder}, if it can be used. */
    AUTO,
    /** Nothing is kept. */
    NONE,
    /** The user; it can be used, or the run does not start. */
    NAMED
  }

  public static final ReferenceStoreFolder AUTO =
      new ReferenceStoreFolder(Kind.AUTO, ReferenceStore.userFolder());
  public static final ReferenceStoreFolder NONE = new ReferenceStoreFolder(Kind.NONE, null);

  public ReferenceStoreFolder {
    if ((kind == Kind.NONE) != (path == null)) {
      throw new IllegalArgumentException("%s folder %s".formatted(kind, path));
    }
  }

  /** This folder. */
  public static ReferenceStoreFolder of(Path path) {
    return new ReferenceStoreFolder(Kind.NAMED, path);
  }

  /** Reads {@code auto}, {@code none} or a path. */
  public static ReferenceStoreFolder fromName(String name) {
    if (name.equalsIgnoreCase("none") || name.equalsIgnoreCase("null")) {
      return NONE;
    }
    try {
      return name.equals("auto") ? AUTO : of(Path.of(name));
    } catch (InvalidPathException e) {
      throw new ConfigException(
          "reference_store", "got %s, expected auto, none or a folder".formatted(name));
    }
  }

  /** As users spell it. */
  @Override
  public String toString() {
    return kind == Kind.NAMED ? String.valueOf(path) : OptionName.of(kind);
  }
}
