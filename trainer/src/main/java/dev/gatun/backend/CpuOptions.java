package dev.gatun.backend;

import org.jspecify.annotations.Nullable;

/**
 * What a {@link CpuBackend} uses.
 *
 * @param threads size of the thread pool, which the process shares: the backend created last sets
 *     it. 0: as {@code OMP_NUM_THREADS} says, else one per physical core that the process may use
 * @param isa instruction set of the kernels ({@code v2}, {@code v3}, {@code v4}, {@code v4-bf16};
 *     {@code generic} elsewhere than on x86-64); null: the best of this machine
 */
public record CpuOptions(int threads, @Nullable String isa) {
  /** All cores, best instruction set. */
  public static final CpuOptions DEFAULT = new CpuOptions(0, null);

  /** Checks the number of threads. */
  public CpuOptions {
    if (threads < 0) {
      throw new IllegalArgumentException("cpu: threads is " + threads + ", expected >= 0");
    }
  }
}
