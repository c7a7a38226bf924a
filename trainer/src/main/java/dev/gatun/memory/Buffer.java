package dev.gatun.memory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * Native memory with one owner, who closes it: of the host or of a device. It is aligned to {@value
 * #ALIGNMENT_BYTES} bytes. Any thread may use it. Nothing is freed by the garbage collector: a
 * buffer that is not closed is a leak, which {@link Allocations} reports.
 *
 * <p>Segments of device memory have its addresses and the length zero, so that reading one from
 * Java throws.
 */
public final class Buffer implements AutoCloseable {
  /** Buffers of at least so many bytes are large: their pages are their own, if on Linux. */
  public static final long LARGE_BYTES = AnonymousPages.HUGE_PAGE_BYTES;

  /** A cache line, and the widest vector register. */
  public static final long ALIGNMENT_BYTES = 64;

  private final String name;
  private final long sizeBytes;
  private final boolean onDevice;
  private final MemorySegment segment;
  private final Runnable release;
  private final AtomicBoolean open = new AtomicBoolean(true);

  private Buffer(
      String name, long sizeBytes, boolean onDevice, MemorySegment segment, Runnable release) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.onDevice = onDevice;
    this.segment = segment;
    this.release = release;
    Allocations.opened(this);
  }

  /**
   * Allocates zeroed host memory. Large buffers are aligned to and advised for huge pages.
   *
   * @param name what it holds, for messages
   * @throws MemoryExhaustedException if the system refuses; small buffers come from the Java
   *     runtime, which throws {@link OutOfMemoryError}
   */
  public static Buffer allocate(String name, long sizeBytes) {
    return allocate(name, sizeBytes, _ -> {});
  }

  /**
   * As above.
   *
   * @param placement is given the pages of a large buffer, which nothing else shares, before
   *     anything touches them, so that it can say where they shall lie; it must not touch them
   */
  public static Buffer allocate(
      String name, long sizeBytes, Consumer<? super MemorySegment> placement) {
    requireSize(name, sizeBytes);
    Arena arena = Arena.ofShared();
    MemorySegment segment;
    try {
      if (sizeBytes >= LARGE_BYTES && AnonymousPages.supported()) {
        segment = AnonymousPages.map(arena, name, sizeBytes);
        placement.accept(segment);
      } else {
        segment = arena.allocate(sizeBytes, ALIGNMENT_BYTES);
      }
    } catch (Throwable t) {
      arena.close();
      throw t;
    }
    return new Buffer(name, sizeBytes, false, segment, arena::close);
  }

  /**
   * Memory of a device, which is the buffer's from now on.
   *
   * @param name what it holds, for messages
   * @param address where it begins; of any length
   * @param release gives it back to the device; runs once
   */
  public static Buffer onDevice(
      String name, long sizeBytes, MemorySegment address, Runnable release) {
    requireSize(name, sizeBytes);
    if (address.address() % ALIGNMENT_BYTES != 0) {
      throw new IllegalArgumentException(
          "%s: device address %#x, expected a multiple of %d"
              .formatted(name, address.address(), ALIGNMENT_BYTES));
    }
    return new Buffer(name, sizeBytes, true, MemorySegment.ofAddress(address.address()), release);
  }

  private static void requireSize(String name, long sizeBytes) {
    Objects.requireNonNull(name, "name");
    if (sizeBytes < 0) {
      throw new IllegalArgumentException(name + ": size is " + sizeBytes + " bytes, expected >= 0");
    }
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

  /** Whether this is memory of a device, which Java cannot read. */
  public boolean isOnDevice() {
    return onDevice;
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

  /**
   * A part of the memory.
   *
   * @throws IndexOutOfBoundsException if the buffer has no such part
   * @throws ReleasedException after {@link #close}
   */
  public MemorySegment segment(long offsetBytes, long partBytes) {
    Objects.checkFromIndexSize(offsetBytes, partBytes, sizeBytes);
    return onDevice
        ? MemorySegment.ofAddress(segment().address() + offsetBytes)
        : segment().asSlice(offsetBytes, partBytes);
  }

  /** Gives the memory back. A second call does nothing. */
  @Override
  public void close() {
    if (open.compareAndSet(true, false)) {
      Allocations.closed(this);
      release.run();
    }
  }

  @Override
  public String toString() {
    return name + " (" + sizeBytes + " bytes" + (open.get() ? ")" : ", closed)");
  }
}
