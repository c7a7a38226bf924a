package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where the pages of large buffers lie. On one NUMA node nothing is asked of the system. On several
 * they come from each in turn, in huge pages where there are any, since every thread reads every
 * part of the weights: first touch would put all of a slab beside the thread that read the file.
 * Results do not depend on it.
 */
final class NumaMemory implements AutoCloseable {
  private final List<Integer> nodes;

  /** Null where nothing is to be interleaved. */
  private final @Nullable Hwloc hwloc;

  private NumaMemory(List<Integer> nodes, @Nullable Hwloc hwloc) {
    this.nodes = nodes;
    this.hwloc = hwloc;
  }

  /**
   * Tries on one page whether the system interleaves.
   *
   * @param hwloc belongs to the result
   */
  static NumaMemory of(Hwloc hwloc, CpuTopology topology) {
    if (topology.isNuma() && interleaves(hwloc, topology.numaNodes())) {
      return new NumaMemory(topology.numaNodes(), hwloc);
    }
    hwloc.close();
    return new NumaMemory(topology.numaNodes(), null);
  }

  private static boolean interleaves(Hwloc hwloc, List<Integer> nodes) {
    boolean[] interleaved = new boolean[1];
    try (Buffer _ =
        Buffer.allocate(
            "page to try",
            Buffer.LARGE_BYTES,
            pages -> interleaved[0] = hwloc.interleave(pages, nodes))) {
      return interleaved[0];
    }
  }

  /** Zeroed memory, as {@link Backend#allocate} gives it. */
  Buffer allocate(String name, long sizeBytes) {
    return hwloc == null
        ? Buffer.allocate(name, sizeBytes)
        : Buffer.allocate(name, sizeBytes, pages -> interleave(hwloc, name, pages));
  }

  private void interleave(Hwloc hwloc, String name, MemorySegment pages) {
    if (!hwloc.interleave(pages, nodes)) {
      throw new GatunException(
          "%s: the system refuses to interleave %d bytes over NUMA nodes %s, which it did at the start; were nodes taken from this process's cgroup?"
              .formatted(name, pages.byteSize(), text(nodes)));
    }
  }

  /** Whether large buffers are interleaved. */
  boolean isInterleaved() {
    return hwloc != null;
  }

  /** For people: {@code interleaved over NUMA nodes 0, 1}. */
  String description() {
    if (nodes.size() < 2) {
      return "not interleaved: the cores of this process have one NUMA node";
    }
    return isInterleaved()
        ? "interleaved over NUMA nodes " + text(nodes)
        : "on the NUMA node that touches it first: the system refuses to interleave it over nodes "
            + text(nodes);
  }

  /** Lines that a user should see before a run. */
  List<String> notes() {
    return nodes.size() < 2 || isInterleaved()
        ? List.of()
        : List.of(
            "cpu: memory lies on the NUMA node that touches it first: the system refuses to interleave it over nodes "
                + text(nodes)
                + " (mbind; in a container, allow it with --cap-add SYS_NICE)");
  }

  private static String text(List<Integer> nodes) {
    return String.join(", ", nodes.stream().map(String::valueOf).toList());
  }

  @Override
  public void close() {
    if (hwloc != null) {
      hwloc.close();
    }
  }
}
