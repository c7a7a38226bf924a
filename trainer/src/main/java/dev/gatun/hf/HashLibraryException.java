package dev.gatun.hf;

import dev.gatun.memory.GatunException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** The native library of xxHash cannot be loaded on this machine. */
public final class HashLibraryException extends GatunException {
  private static final long serialVersionUID = 1L;

  /**
   * @param installed its file in a distribution, or null if it comes out of a jar
   */
  HashLibraryException(@Nullable Path installed, LinkageError cause) {
    super(
        "cannot %s the xxHash library%s: %s; %s"
            .formatted(
                installed == null ? "unpack and load" : "load",
                installed == null ? "" : " " + installed,
                Shown.line(String.valueOf(cause.getMessage())),
                installed == null
                    ? "set -Dorg.lwjgl.system.SharedLibraryExtractPath to a folder that is writable and not mounted noexec"
                    : "unpack the distribution where files can be read and are not mounted noexec"),
        cause);
  }
}
