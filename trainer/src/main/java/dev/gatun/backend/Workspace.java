package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Scratch memory that all kernels of a backend share, one after the other. */
final class Workspace implements AutoCloseable {
  private @Nullable Buffer buffer;

  /** Makes room for {@code sizeBytes}. Contents are lost. */
  void reserve(long sizeBytes) {
    if (buffer == null || buffer.sizeBytes() < sizeBytes) {
      close();
      buffer = Buffer.allocate("workspace", sizeBytes);
    }
  }

  /**
   * The memory, of which {@code sizeBytes} are needed.
   *
   * @throws GatunException if fewer are reserved
   */
  MemorySegment need(String function, long sizeBytes) {
    long reserved = buffer == null ? 0 : buffer.sizeBytes();
    if (buffer == null || reserved < sizeBytes) {
      throw new GatunException(
          "%s: workspace has %d bytes, expected %d; reserve it for the largest extents of the run"
              .formatted(function, reserved, sizeBytes));
    }
    return buffer.segment();
  }

  @Override
  public void close() {
    if (buffer != null) {
      buffer.close();
    }
  }
}
