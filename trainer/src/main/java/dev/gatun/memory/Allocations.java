package dev.gatun.memory;

import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * What native memory is in use: the buffers that are open, their bytes, and the most there were.
 */
public final class Allocations {
  private static final Map<Buffer, Allocation> LIVE = new ConcurrentHashMap<>();
  private static final AtomicLong SEQUENCE = new AtomicLong();
  private static final AtomicLong LIVE_BYTES = new AtomicLong();
  private static final AtomicLong PEAK_BYTES = new AtomicLong();
  private static volatile boolean recordStacks;

  private Allocations() {}

  /**
   * An open buffer.
   *
   * @param sequence counts allocations from 0, in order
   * @param stack where it was allocated; null unless stacks were being recorded then
   */
  public record Allocation(long sequence, String name, long sizeBytes, @Nullable Throwable stack) {}

  /** Records, or stops recording, the stack of every allocation from now on. */
  public static void track(boolean stacks) {
    recordStacks = stacks;
  }

  /** The open buffers, oldest first. */
  public static List<Allocation> live() {
    return LIVE.values().stream().sorted(Comparator.comparingLong(Allocation::sequence)).toList();
  }

  /** Bytes of the open buffers. */
  public static long liveBytes() {
    return LIVE_BYTES.get();
  }

  /** The largest value of {@link #liveBytes} since the start or {@link #resetPeak}. */
  public static long peakBytes() {
    return PEAK_BYTES.get();
  }

  /** Forgets past peaks: the peak becomes what is live now. */
  public static void resetPeak() {
    PEAK_BYTES.set(LIVE_BYTES.get());
  }

  static void opened(Buffer buffer) {
    Throwable stack = recordStacks ? new Throwable("allocated here") : null;
    LIVE.put(
        buffer,
        new Allocation(SEQUENCE.getAndIncrement(), buffer.name(), buffer.sizeBytes(), stack));
    long live = LIVE_BYTES.addAndGet(buffer.sizeBytes());
    PEAK_BYTES.accumulateAndGet(live, Math::max);
  }

  static void closed(Buffer buffer) {
    LIVE.remove(buffer);
    LIVE_BYTES.addAndGet(-buffer.sizeBytes());
  }
}
