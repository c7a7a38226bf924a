package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CpuCoresTest {
  /** Two hardware threads a core; the process may use three of the four, on two cores. */
  @Test
  void countsCoresAndNotHardwareThreads(@TempDir Path folder) throws IOException {
    Path status =
        Files.writeString(folder.resolve("status"), "Name: x\nCpus_allowed_list:\t0-1,3\n");
    for (int cpu = 0; cpu < 4; cpu++) {
      Path topology = Files.createDirectories(folder.resolve("cpu" + cpu + "/topology"));
      Files.writeString(
          topology.resolve("thread_siblings_list"), cpu % 2 + "," + (cpu % 2 + 2) + "\n");
    }
    assertEquals(2, CpuCores.physicalCores(status, folder));
    assertEquals(0, CpuCores.physicalCores(folder.resolve("missing"), folder));
  }

  @Test
  void readsListsOfProcessors() {
    assertEquals(Set.of(0, 1, 2, 8), CpuCores.list(" 0-2,8\n"));
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
    int threads = CpuCores.defaultThreads();
    assertTrue(threads >= 1, "threads " + threads);
  }
}
