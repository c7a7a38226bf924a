package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Scratch memory that all kernels of a backend share, one after the other. */
final class Workspace implements AutoCloseable {
  private final String name;
  private final Allocator allocator;
  private @Nullable Buffer buffer;

  /** Gives memory of the device. */
  @FunctionalInterface
  interface Allocator {
    Buffer allocate(String name, long sizeBytes);
  }

  /** An empty workspace, called {@code name} in messages. */
  Workspace(String name, Allocator allocator) {
    this.name = name;
    this.allocator = allocator;
  }

  /** Makes room for {@code sizeBytes}. Contents are lost. */
  void reserve(long sizeBytes) {
    if (buffer == null || buffer.sizeBytes() < sizeBytes) {
      close();
      buffer = allocator.allocate(name, sizeBytes);
    }
  }

  /** The memory as it was reserved last. */
  Buffer buffer() {
    return Objects.requireNonNull(buffer, name);
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
          "%s: %s has %d bytes, expected %d; reserve it for the largest extents of the run"
              .formatted(function, name, reserved, sizeBytes));
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
