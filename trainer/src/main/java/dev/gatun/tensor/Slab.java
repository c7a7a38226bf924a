package dev.gatun.tensor;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import org.jspecify.annotations.Nullable;

/**
 * One buffer that hands out tensors from front to back: the memory of one lifetime. Tensors begin
 * at multiples of 64 bytes. They are given back all at once ({@link #close}) or, in the reverse of
 * their order, with {@link #mark} and {@link #reset}. Not for concurrent use.
 *
 * <p>A {@link #planner} has no memory: it runs the same program of allocations to learn, from
 * {@link #highWaterBytes}, how large the buffer must be.
 */
public final class Slab implements AutoCloseable {
  private final @Nullable Buffer buffer; // null: planning
  private long usedBytes;
  private long highWaterBytes;

  /** A slab over {@code buffer}, which it owns from now on. Contents are as the buffer's. */
  public Slab(Buffer buffer) {
    this.buffer = buffer;
  }

  private Slab() {
    this.buffer = null;
  }

  /** A slab that only counts: its tensors have shapes but no memory. */
  public static Slab planner() {
    return new Slab();
  }

  /** Whether this slab only counts. */
  public boolean isPlanner() {
    return buffer == null;
  }

  /**
   * The next tensor. Contents are what the memory held before.
   *
   * @throws GatunException if the slab is full, which is a defect of its plan
   */
  public Tensor allocate(String name, DType dtype, long... shape) {
    long begin = usedBytes;
    Tensor planned = Tensor.planned(name, dtype, shape, begin);
    long end = Math.addExact(begin, alignUp(planned.sizeBytes()));
    if (buffer != null && end > alignUp(buffer.sizeBytes())) {
      throw new GatunException(
          planned
              + ": needs "
              + planned.sizeBytes()
              + " bytes, "
              + buffer.name()
              + " has "
              + (buffer.sizeBytes() - begin)
              + " of "
              + buffer.sizeBytes()
              + " left");
    }
    usedBytes = end;
    highWaterBytes = Math.max(highWaterBytes, end);
    return buffer == null ? planned : new Tensor(name, dtype, shape, buffer, begin);
  }

  /** Bytes in use now. Pass it to {@link #reset} to give back all that is allocated after it. */
  public long mark() {
    return usedBytes;
  }

  /**
   * Gives back everything allocated since {@code mark}.
   *
   * @throws IllegalArgumentException if {@code mark} is not an earlier result of {@link #mark}
   */
  public void reset(long mark) {
    if (mark < 0 || mark > usedBytes || mark != alignUp(mark)) {
      throw new IllegalArgumentException(
          "slab: mark is " + mark + ", expected a mark at or below " + usedBytes);
    }
    usedBytes = mark;
  }

  /** The most bytes that were in use at a time: the size that a buffer must have. */
  public long highWaterBytes() {
    return highWaterBytes;
  }

  /**
   * The buffer.
   *
   * @throws IllegalStateException if this slab only counts
   */
  public Buffer buffer() {
    if (buffer == null) {
      throw new IllegalStateException("slab: a planner has no buffer");
    }
    return buffer;
  }

  /** Closes the buffer. A second call does nothing. */
  @Override
  public void close() {
    if (buffer != null) {
      buffer.close();
    }
  }

  private static long alignUp(long bytes) {
    return Math.addExact(bytes, Buffer.ALIGNMENT_BYTES - 1) & -Buffer.ALIGNMENT_BYTES;
  }
}
