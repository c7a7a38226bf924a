package dev.gatun.library;

import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import org.jspecify.annotations.Nullable;

/**
 * The native libraries of a distribution, in the folder {@code native/} beside the jar that this
 * class lies in. Nothing has to be unpacked where there is one. A checkout has none: its libraries
 * come out of the jars.
 */
public final class InstalledLibraries {
  private static final String FOLDER = "native";

  private InstalledLibraries() {}

  /** The file of that name, or null if this is no distribution. */
  public static @Nullable Path find(String fileName) {
    CodeSource source = InstalledLibraries.class.getProtectionDomain().getCodeSource();
    try {
      return source == null ? null : find(fileName, Path.of(source.getLocation().toURI()));
    } catch (URISyntaxException e) {
      throw new AssertionError("the class loader gave " + source + ", which is no file", e);
    }
  }

  /** As above, for classes that were loaded from {@code code}, a jar or a folder. */
  public static @Nullable Path find(String fileName, Path code) {
    if (!Files.isRegularFile(code)) {
      return null;
    }
    Path library = code.toAbsolutePath().resolveSibling(FOLDER).resolve(fileName);
    return Files.isRegularFile(library) ? library : null;
  }
}
