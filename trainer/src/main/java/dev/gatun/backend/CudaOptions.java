package dev.gatun.backend;

import java.nio.file.Path;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What a {@link CudaBackend} uses.
 *
 * @param device which GPU, as CUDA counts them
 * @param cudaHome folder to look for NVIDIA's libraries in first; null: the usual places
 * @param debugSync waits after every operation, so that a failure names the one that caused it
 * @param tf32 f32 matrix products may round their operands to TF32: 10 bits of mantissa, not 23
 * @param matmulChoice how the algorithms of matrix products are chosen
 * @param graphs whether work that repeats is replayed as CUDA graphs; results are the same
 * @param cacheFolder where choices are kept for later runs; null: nowhere
 */
public record CudaOptions(
    int device,
    @Nullable Path cudaHome,
    boolean debugSync,
    boolean tf32,
    MatmulChoice matmulChoice,
    Graphs graphs,
    @Nullable Path cacheFolder) {
  /** How the algorithm of a matrix product is chosen. */
  public enum MatmulChoice {
    /** By timing those that cuBLASLt proposes, once for each shape, and remembering the best. */
    TIMED,
    /** The first that cuBLASLt proposes. */
    FIRST
  }

  /** Whether work that repeats is replayed as CUDA graphs. */
  public enum Graphs {
    /**
     * As {@link #ON}, but while a profiler records, to which operations in a graph have no names,
     * and not with {@code debugSync}.
     */
    AUTO,
    ON,
    OFF;

    /** The word that users type. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** The first GPU, exact f32, graphs, timed choices kept in the user's cache folder. */
  public static final CudaOptions DEFAULT =
      new CudaOptions(0, null, false, false, MatmulChoice.TIMED, Graphs.AUTO, userCache());

  /** Checks the index, and that nothing is contradicted. */
  public CudaOptions {
    if (device < 0) {
      throw new IllegalArgumentException("cuda: device is " + device + ", expected >= 0");
    }
    if (debugSync && graphs == Graphs.ON) {
      throw new IllegalArgumentException(
          "cuda: debugSync waits after every operation, which a graph cannot; choose one of them");
    }
  }

  /** {@code $XDG_CACHE_HOME/gatun}, by default {@code ~/.cache/gatun}. */
  private static Path userCache() {
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base =
        xdg == null || xdg.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(xdg);
    return base.resolve("gatun");
  }

  public CudaOptions withDevice(int value) {
    return new CudaOptions(value, cudaHome, debugSync, tf32, matmulChoice, graphs, cacheFolder);
  }

  public CudaOptions withCudaHome(@Nullable Path value) {
    return new CudaOptions(device, value, debugSync, tf32, matmulChoice, graphs, cacheFolder);
  }

  /** Waits after every operation. */
  public CudaOptions withDebugSync() {
    return new CudaOptions(device, cudaHome, true, tf32, matmulChoice, graphs, cacheFolder);
  }

  /** Allows TF32. */
  public CudaOptions withTf32() {
    return new CudaOptions(device, cudaHome, debugSync, true, matmulChoice, graphs, cacheFolder);
  }

  public CudaOptions withMatmulChoice(MatmulChoice value) {
    return new CudaOptions(device, cudaHome, debugSync, tf32, value, graphs, cacheFolder);
  }

  public CudaOptions withGraphs(Graphs value) {
    return new CudaOptions(device, cudaHome, debugSync, tf32, matmulChoice, value, cacheFolder);
  }

  public CudaOptions withCacheFolder(@Nullable Path value) {
    return new CudaOptions(device, cudaHome, debugSync, tf32, matmulChoice, graphs, value);
  }
}
