package dev.gatun.memory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Native memory with one owner, who closes it. It starts zeroed and is aligned to {@value
 * #ALIGNMENT_BYTES} bytes; large buffers are aligned to and advised for huge pages. Any thread may
 * use it. Nothing is freed by the garbage collector: a buffer that is not closed is a leak, which
 * {@link Allocations} reports.
 */
public final class Buffer implements AutoCloseable {
  /** A cache line, and the widest vector register. */
  public static final long ALIGNMENT_BYTES = 64;

  private final String name;
  private final long sizeBytes;
  private final Arena arena;
  private final MemorySegment segment;
  private final AtomicBoolean open = new AtomicBoolean(true);

  private Buffer(String name, long sizeBytes) {
    this.name = Objects.requireNonNull(name, "name");
    if (sizeBytes < 0) {
      throw new IllegalArgumentException(name + ": size is " + sizeBytes + " bytes, expected >= 0");
    }
    this.sizeBytes = sizeBytes;
    this.arena = Arena.ofShared();
    try {
      this.segment =
          sizeBytes >= AnonymousPages.HUGE_PAGE_BYTES && AnonymousPages.supported()
              ? AnonymousPages.map(arena, name, sizeBytes)
              : arena.allocate(sizeBytes, ALIGNMENT_BYTES);
    } catch (Throwable t) {
      arena.close();
      throw t;
    }
  }

  /**
   * Allocates zeroed memory.
   *
   * @param name what it holds, for messages
   * @throws MemoryExhaustedException if the system refuses; small buffers come from the Java
   *     runtime, which throws {@link OutOfMemoryError}
   */
  public static Buffer allocate(String name, long sizeBytes) {
    Buffer buffer = new Buffer(name, sizeBytes);
    Allocations.opened(buffer);
    return buffer;
  }

  /** What the buffer holds, for messages. */
  public String name() {
    return name;
  }

  /** Size in bytes. */
  public long sizeBytes() {
    return sizeBytes;
  }

  /** Whether {@link #close} has not been called. */
  public boolean isOpen() {
    return open.get();
  }

  /**
   * The whole memory.
   *
   * @throws ReleasedException after {@link #close}
   */
  public MemorySegment segment() {
    if (!open.get()) {
      throw new ReleasedException(name);
    }
    return segment;
  }

  /** Gives the memory back. A second call does nothing. */
  @Override
  public void close() {
    if (open.compareAndSet(true, false)) {
      Allocations.closed(this);
      arena.close();
    }
  }

  @Override
  public String toString() {
    return name + " (" + sizeBytes + " bytes" + (open.get() ? ")" : ", closed)");
  }
}
