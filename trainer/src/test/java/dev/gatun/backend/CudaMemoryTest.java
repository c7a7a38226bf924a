package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.memory.Allocations;
import org.junit.jupiter.api.Test;

/** What is known of a GPU without one is what its libraries say. */
class CudaMemoryTest {
  private static final long[] ROWS = {0, 1, 63, 64, 1000, 16_384, 1 << 20};
  private static final long[] COLUMNS = {0, 1, 64, 2047, 2048, 2049, 151_936, 3 << 20};

  @Test
  void theWorkspaceIsThatOfTheKernels() {
    long before = Allocations.liveBytes();
    try (CudaBackend backend = CudaBackend.create(CudaOptions.DEFAULT)) {
      BackendMemory memory = BackendMemory.ofGpu(backend.device().computeCapability());
      assertEquals(memory, backend.memory());
      assertEquals(memory.matmulBytes(), Allocations.liveBytes() - before);
      for (long rows : ROWS) {
        for (long columns : COLUMNS) {
          assertEquals(
              backend.kernels().workspaceBytes(rows, columns),
              memory.workspaceBytes(rows, columns),
              rows + " rows, " + columns + " columns");
        }
      }
    }
  }
}
