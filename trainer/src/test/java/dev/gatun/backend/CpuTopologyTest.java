package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CpuTopology.Cache;
import dev.gatun.backend.Hwloc.MemoryBinding;
import dev.gatun.backend.Hwloc.Policy;
import dev.gatun.memory.Buffer;
import dev.gatun.memory.ReleasedException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Machines that are not there, described to hwloc; then this one. */
final class CpuTopologyTest {
  private static CpuTopology of(String description, String hardwareThreads) {
    try (Hwloc hwloc = Hwloc.synthetic(description, hardwareThreads)) {
      return hwloc.topology();
    }
  }

  /** Hardware threads 0-7 are on node 0, two a core. */
  private static CpuTopology twoNodes(String hardwareThreads) {
    return of("numa:2 core:4 pu:2", hardwareThreads);
  }

  @Test
  void countsWhatTheProcessMayUse() {
    assertEquals(new CpuTopology(1, List.of(0, 1), 8, 16, List.of()), twoNodes("0-15"));
    // Three of four hardware threads, on two cores.
    assertEquals(new CpuTopology(1, List.of(0), 2, 3, List.of()), twoNodes("0-2"));
    // The last core of the first node and the first of the second.
    assertEquals(new CpuTopology(1, List.of(0, 1), 2, 4, List.of()), twoNodes("6-9"));
    // All of the second node; what the machine lacks does not count.
    assertEquals(new CpuTopology(1, List.of(1), 4, 8, List.of()), twoNodes("8-99"));
  }

  @Test
  void countsPackagesAndCaches() {
    String machine =
        "package:2 numa:2 l3:2(size=33554432) l2:4(size=1048576) l1:1(size=32768) core:1 pu:2";
    assertEquals(
        new CpuTopology(
            2,
            List.of(0, 1, 2, 3),
            32,
            64,
            List.of(
                new Cache(1, 32 << 10, 32), new Cache(2, 1 << 20, 32), new Cache(3, 32 << 20, 8))),
        of(machine, "0-63"));
    // One package: nodes 0 and 1, as a batch system would give it.
    assertEquals(
        new CpuTopology(
            1,
            List.of(0, 1),
            16,
            32,
            List.of(
                new Cache(1, 32 << 10, 16), new Cache(2, 1 << 20, 16), new Cache(3, 32 << 20, 4))),
        of(machine, "0-31"));
  }

  @Test
  void aMachineWithoutCoresCountsHardwareThreads() {
    assertEquals(new CpuTopology(1, List.of(0), 4, 4, List.of()), of("pu:4", "0-3"));
  }

  @Test
  void interleavesOnlyOverSeveralNodes() {
    assertTrue(twoNodes("0-15").isNuma());
    assertTrue(twoNodes("7-8").isNuma());
    assertFalse(twoNodes("0-7").isNuma());
    assertFalse(of("core:8 pu:2", "0-15").isNuma());
  }

  @Test
  void bindsThreadsOnlyIfTheyTakeAllCoresOfSeveralNodes() {
    assertTrue(twoNodes("0-15").bindsThreads(8));
    assertFalse(twoNodes("0-15").bindsThreads(7), "others may be bound to the same seven");
    assertFalse(twoNodes("0-15").bindsThreads(9), "more than cores");
    assertFalse(twoNodes("0-7").bindsThreads(4), "one node");
  }

  @Test
  void countsAreChecked() {
    assertThrows(
        IllegalArgumentException.class, () -> new CpuTopology(1, List.of(0), 4, 3, List.of()));
  }

  /** As the kernel says it, in another place. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void thisProcessHasTheHardwareThreadsOfItsMask() throws Exception {
    CpuTopology topology = CpuTopology.ofThisProcess();
    String line =
        Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(text -> text.startsWith("Cpus_allowed:"))
            .findFirst()
            .orElseThrow();
    int allowed =
        line.substring(line.indexOf(':') + 1)
            .chars()
            .map(digit -> Character.digit(digit, 16))
            .filter(digit -> digit >= 0)
            .map(Integer::bitCount)
            .sum();
    // The mask may name processors that are not there.
    assertTrue(topology.hardwareThreads() <= allowed, topology + ", mask " + line);
    assertTrue(
        topology.hardwareThreads() >= Runtime.getRuntime().availableProcessors(),
        topology + ", Java has " + Runtime.getRuntime().availableProcessors());
  }

  /** Granted and read back, or refused and said: containers may forbid it. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void interleavesTheSlabsOfThisMachine() {
    CpuTopology real = CpuTopology.ofThisProcess();
    // A node named twice counts as two, so that one node is asked for too.
    List<Integer> nodes = real.isNuma() ? real.numaNodes() : Collections.nCopies(2, 0);
    try (Hwloc hwloc = Hwloc.ofThisProcess();
        NumaMemory memory = NumaMemory.of(Hwloc.ofThisProcess(), withNodes(real, nodes));
        Buffer large = memory.allocate("large", Buffer.LARGE_BYTES + 12_345);
        Buffer small = memory.allocate("small", 100)) {
      MemoryBinding binding = hwloc.memoryBinding(large.segment());
      if (memory.isInterleaved()) {
        assertEquals(List.of(), memory.notes());
        assertEquals(new MemoryBinding(Policy.INTERLEAVE, real.numaNodes()), binding);
      } else {
        assertTrue(
            binding == null || binding.policy() == Policy.FIRST_TOUCH, String.valueOf(binding));
        assertEquals(1, memory.notes().size());
      }
      large.segment().set(ValueLayout.JAVA_BYTE, large.sizeBytes() - 1, (byte) 7);
      assertEquals(7, large.segment().get(ValueLayout.JAVA_BYTE, large.sizeBytes() - 1));
      assertEquals(0, small.segment().get(ValueLayout.JAVA_BYTE, 99));
    }
  }

  /** A node that no machine has stands for a kernel that refuses. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aRefusalIsSaidAndMemoryComesAllTheSame() {
    CpuTopology impossible = withNodes(CpuTopology.ofThisProcess(), List.of(1022, 1023));
    try (NumaMemory memory = NumaMemory.of(Hwloc.ofThisProcess(), impossible);
        Buffer buffer = memory.allocate("large", Buffer.LARGE_BYTES)) {
      assertFalse(memory.isInterleaved());
      assertEquals(
          List.of(
              "cpu: memory lies on the NUMA node that touches it first: the system refuses to interleave it over nodes 1022, 1023"
                  + " (mbind; in a container, allow it with --cap-add SYS_NICE)"),
          memory.notes());
      assertEquals(
          "on the NUMA node that touches it first: the system refuses to interleave it over nodes 1022, 1023",
          memory.description());
      assertEquals(Buffer.LARGE_BYTES, buffer.sizeBytes());
    }
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void onOneNodeNothingIsAsked() {
    CpuTopology one = withNodes(CpuTopology.ofThisProcess(), List.of(0));
    try (Hwloc hwloc = Hwloc.ofThisProcess();
        NumaMemory memory = NumaMemory.of(Hwloc.ofThisProcess(), one);
        Buffer buffer = memory.allocate("large", Buffer.LARGE_BYTES)) {
      assertEquals(List.of(), memory.notes());
      assertEquals(
          "not interleaved: the cores of this process have one NUMA node", memory.description());
      MemoryBinding binding = hwloc.memoryBinding(buffer.segment());
      assertTrue(
          binding == null || binding.policy() == Policy.FIRST_TOUCH, String.valueOf(binding));
    }
  }

  @Test
  void aClosedTopologySaysSo() {
    Hwloc hwloc = Hwloc.ofThisProcess();
    hwloc.close();
    hwloc.close();
    assertThrows(ReleasedException.class, hwloc::topology);
  }

  private static CpuTopology withNodes(CpuTopology topology, List<Integer> nodes) {
    return new CpuTopology(
        topology.packages(), nodes, topology.cores(), topology.hardwareThreads(), List.of());
  }
}
