package dev.gatun.backend;

import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A mark in a stream of work. */
final class CudaEvent implements AutoCloseable {
  private MemorySegment event;

  private CudaEvent(int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
      CudaStatus.check(
          "cudaEventCreateWithFlags", CudaRuntime.cudaEventCreateWithFlags(pointer, flags));
      event = pointer.get(ValueLayout.ADDRESS, 0);
    }
  }

  /** A mark that can be waited for. */
  static CudaEvent mark() {
    return new CudaEvent(CudaRuntime.cudaEventDisableTiming());
  }

  /** A mark that knows its time. */
  static CudaEvent timed() {
    return new CudaEvent(CudaRuntime.cudaEventDefault());
  }

  /** Puts the mark behind the stream's work so far. */
  void record(MemorySegment stream) {
    CudaStatus.check("cudaEventRecord", CudaRuntime.cudaEventRecord(event, stream));
  }

  /** Waits until the work before the mark is done; at once if it was never recorded. */
  void await() {
    CudaStatus.check("cudaEventSynchronize", CudaRuntime.cudaEventSynchronize(event));
  }

  /** Milliseconds between two recorded marks, both reached. */
  float millisecondsSince(CudaEvent start) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment milliseconds = arena.allocate(ValueLayout.JAVA_FLOAT);
      CudaStatus.check(
          "cudaEventElapsedTime",
          CudaRuntime.cudaEventElapsedTime(milliseconds, start.event, event));
      return milliseconds.get(ValueLayout.JAVA_FLOAT, 0);
    }
  }

  @Override
  public void close() {
    if (!event.equals(MemorySegment.NULL)) {
      CudaStatus.check("cudaEventDestroy", CudaRuntime.cudaEventDestroy(event));
      event = MemorySegment.NULL;
    }
  }
}
