package dev.gatun.train;

import dev.gatun.backend.CudaOptions;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * How a {@link Device} computes. What a device has no use for is ignored here; {@link RunConfig}
 * refuses it.
 *
 * @param threads CPU threads; 0: all cores
 * @param cudaHome folder to look for NVIDIA's libraries in first; null: the usual places
 * @param debugSync waits after every operation on a GPU, so that a failure names its cause
 * @param tf32 f32 matrix products on a GPU may round their operands to TF32
 * @param graphs whether a GPU replays work that repeats
 */
public record DeviceOptions(
    int threads,
    @Nullable Path cudaHome,
    boolean debugSync,
    boolean tf32,
    CudaOptions.Graphs graphs) {
  /** All cores, libraries in the usual places, exact f32. */
  public static final DeviceOptions DEFAULT = ofThreads(0);

  /** The defaults, with a number of CPU threads. */
  public static DeviceOptions ofThreads(int threads) {
    return new DeviceOptions(threads, null, false, false, CudaOptions.Graphs.AUTO);
  }
}
