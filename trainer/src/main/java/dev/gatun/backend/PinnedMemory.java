package dev.gatun.backend;

import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Host memory that stays where it is, which a GPU copies from and to beside its other work. */
final class PinnedMemory implements AutoCloseable {
  private MemorySegment segment;

  /** Memory of {@code sizeBytes}, contents undefined. */
  @SuppressWarnings("restricted") // reinterpret: to the size that was allocated
  PinnedMemory(long sizeBytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
      CudaStatus.check(
          "cudaHostAlloc",
          CudaRuntime.cudaHostAlloc(pointer, sizeBytes, CudaRuntime.cudaHostAllocDefault()));
      segment = pointer.get(ValueLayout.ADDRESS, 0).reinterpret(sizeBytes);
    }
  }

  MemorySegment segment() {
    return segment;
  }

  @Override
  public void close() {
    if (!segment.equals(MemorySegment.NULL)) {
      CudaStatus.check("cudaFreeHost", CudaRuntime.cudaFreeHost(segment));
      segment = MemorySegment.NULL;
    }
  }
}
