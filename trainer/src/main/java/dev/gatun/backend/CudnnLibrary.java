package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.List;

/** The cuDNN that this process has loaded. */
final class CudnnLibrary {
  /** The first that takes the softmax of the attention operation as a descriptor of its own. */
  private static final long OLDEST_VERSION = 92_100;

  private CudnnLibrary() {}

  /** 92400 for 9.24.0. */
  static long version() {
    return Cudnn.cudnnGetVersion();
  }

  /** {@code cuDNN 9.24.0}. */
  static String describe() {
    return "cuDNN " + text(version());
  }

  /**
   * Refuses a cuDNN that could not do what is asked of it.
   *
   * @throws CudnnUnsupportedException if it is too old, or a library is missing without which it
   *     ends the process
   */
  static void require() {
    long version = version();
    if (version < OLDEST_VERSION) {
      throw new CudnnUnsupportedException(
          "cuDNN is %s, expected %s or newer".formatted(text(version), text(OLDEST_VERSION)));
    }
    // cuDNN calls abort() at its first graph if it cannot load cuBLASLt.
    long cuda = Cudnn.cudnnGetCudartVersion() / 1000;
    for (String library : List.of("libcuda.so.1", "libcublasLt.so." + cuda)) {
      try (Arena arena = Arena.ofConfined()) {
        SymbolLookup _ = SymbolLookup.libraryLookup(library, arena);
      } catch (IllegalArgumentException e) {
        throw new CudnnUnsupportedException(
            "cuDNN %s for CUDA %d needs %s, which the loader does not find; put its folder on LD_LIBRARY_PATH"
                .formatted(text(version), cuda, library));
      }
    }
  }

  private static String text(long version) {
    return "%d.%d.%d".formatted(version / 10_000, version % 10_000 / 100, version % 100);
  }
}
