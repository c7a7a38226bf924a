package dev.gatun.library;

import dev.gatun.memory.GatunException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** A native library of LWJGL cannot be loaded on this machine. */
public final class LwjglLibraryException extends GatunException {
  private static final long serialVersionUID = 1L;

  /**
   * @param name of what the library holds, for people
   * @param installed its file in a distribution, or null if it comes out of a jar
   */
  LwjglLibraryException(String name, @Nullable Path installed, LinkageError cause) {
    super(
        "cannot %s the %s library%s: %s; %s"
            .formatted(
                installed == null ? "unpack and load" : "load",
                name,
                installed == null ? "" : " " + installed,
                String.valueOf(cause.getMessage()).replaceAll("\\s*\\R\\s*", " "),
                installed == null
                    ? "set -Dorg.lwjgl.system.SharedLibraryExtractPath to a folder that is writable and not mounted noexec"
                    : "unpack the distribution where files can be read and are not mounted noexec"),
        cause);
  }
}
