package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CpuTopology;
import dev.gatun.backend.CpuTopology.Cache;
import java.util.List;
import org.junit.jupiter.api.Test;

final class DoctorCommandTest {
  @Test
  void showsPackagesNodesCoresAndCaches() {
    CpuTopology two =
        new CpuTopology(
            2,
            List.of(0, 1),
            32,
            64,
            List.of(
                new Cache(1, 32 << 10, 32), new Cache(2, 1 << 20, 32), new Cache(3, 32 << 20, 4)));
    assertEquals(
        "2 packages, 2 NUMA nodes, 32 cores, 64 hardware threads", DoctorCommand.counts(two));
    assertEquals("L1 32 x 32 KiB, L2 32 x 1 MiB, L3 4 x 32 MiB", DoctorCommand.caches(two));
    CpuTopology one = new CpuTopology(1, List.of(0), 1, 1, List.of());
    assertEquals("1 package, 1 NUMA node, 1 core, 1 hardware thread", DoctorCommand.counts(one));
    assertEquals("not known", DoctorCommand.caches(one));
  }

  @Test
  void showsThisMachine() {
    Cli cli = Cli.run("doctor");
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertTrue(
        cli.out().contains("\ntopology      " + DoctorCommand.counts(CpuTopology.ofThisProcess())),
        cli.out());
    assertTrue(
        cli.out().matches("(?s).*\nmemory pages  (not interleaved|interleaved|on the NUMA node).*"),
        cli.out());
  }
}
