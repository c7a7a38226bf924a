package dev.gatun.backend;

import java.util.List;

/**
 * The processors that this process may use, and the memory beside them.
 *
 * @param packages what is put into a socket
 * @param numaNodes the system's numbers, ascending, of the NUMA nodes that have some of the cores
 *     and whose memory the process may use; those of special memory (HBM, GPUs) are not among them
 * @param cores physical ones, of which the process may use at least one hardware thread
 * @param hardwareThreads what the process's affinity mask and cgroup leave; a quota of CPU time is
 *     not counted
 * @param caches data and unified ones of those cores, smallest level first
 */
public record CpuTopology(
    int packages, List<Integer> numaNodes, int cores, int hardwareThreads, List<Cache> caches) {
  /** So many caches of one level and size. */
  public record Cache(int level, long sizeBytes, int count) {}

  /** Checks the counts. */
  public CpuTopology {
    numaNodes = List.copyOf(numaNodes);
    caches = List.copyOf(caches);
    if (packages < 1 || cores < 1 || hardwareThreads < cores) {
      throw new IllegalArgumentException(
          "%d packages, %d cores, %d hardware threads; expected at least 1 each, and no more cores than threads"
              .formatted(packages, cores, hardwareThreads));
    }
  }

  /**
   * Of the machine, for this process.
   *
   * @throws dev.gatun.library.LwjglLibraryException if hwloc cannot be loaded
   */
  public static CpuTopology ofThisProcess() {
    try (Hwloc hwloc = Hwloc.ofThisProcess()) {
      return hwloc.topology();
    }
  }

  /** Whether it matters where memory lies, and which core a thread runs on. */
  public boolean isNuma() {
    return numaNodes.size() > 1;
  }

  /**
   * Whether so many threads are bound to cores: where it matters, and only if they take all cores.
   * With cores left over, another process that did the same would be bound to the same ones.
   */
  boolean bindsThreads(int threads) {
    return isNuma() && threads == cores;
  }
}
