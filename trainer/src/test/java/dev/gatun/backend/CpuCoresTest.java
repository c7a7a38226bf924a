package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

final class CpuCoresTest {
  /** Eight hardware threads on four cores; a quota may give time for fewer, not for more. */
  @Test
  void takesCoresAndNoMoreThanTheQuota() {
    CpuTopology topology = new CpuTopology(1, List.of(0), 4, 8, List.of());
    assertEquals(4, CpuCores.available(topology, 8));
    assertEquals(3, CpuCores.available(topology, 3));
  }

  @Test
  void readsOpenMpsVariable() {
    assertEquals(4, CpuCores.parse("4"));
    assertEquals(6, CpuCores.parse(" 6 ,2"));
    for (String wrong : new String[] {"", "0", "-1", "many"}) {
      assertEquals(
          "cpu: OMP_NUM_THREADS is \"" + wrong + "\", expected a number of threads >= 1",
          assertThrows(BackendUnavailableException.class, () -> CpuCores.parse(wrong))
              .getMessage());
    }
  }

  @Test
  void usesNoMoreThanThereAre() {
    int threads = CpuCores.defaultThreads(CpuTopology.ofThisProcess());
    assertTrue(threads >= 1, "threads " + threads);
  }
}
