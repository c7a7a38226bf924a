package dev.gatun.hf;

import dev.gatun.memory.GatunException;

/** The native library of xxHash cannot be loaded on this machine. */
public final class HashLibraryException extends GatunException {
  private static final long serialVersionUID = 1L;

  HashLibraryException(LinkageError cause) {
    super(
        "cannot unpack and load the xxHash library: "
            + Shown.line(String.valueOf(cause.getMessage()))
            + "; set -Dorg.lwjgl.system.SharedLibraryExtractPath to a folder that is writable and not mounted noexec",
        cause);
  }
}
