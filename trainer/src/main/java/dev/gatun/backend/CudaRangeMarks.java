package dev.gatun.backend;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Begins and ends of ranges as events in a stream, whose times the device tells. */
final class CudaRangeMarks implements AutoCloseable {
  private static final double NANOS_PER_MILLISECOND = 1e6;

  private final MemorySegment stream;
  private final List<Mark> marks = new ArrayList<>();

  /**
   * One begin or end.
   *
   * @param begun name of the range that begins; null: one ends
   */
  private record Mark(@Nullable String begun, CudaEvent event) {}

  CudaRangeMarks(MemorySegment stream) {
    this.stream = stream;
  }

  void begin(String name) {
    add(name);
  }

  void end() {
    add(null);
  }

  private void add(@Nullable String begun) {
    Mark mark = new Mark(begun, CudaEvent.timed());
    marks.add(mark);
    mark.event.record(stream);
  }

  /** Waits for the last mark. */
  RangeTimes times() {
    RangeClock clock = new RangeClock();
    double now = 0;
    for (int i = 0; i < marks.size(); i++) {
      Mark mark = marks.get(i);
      mark.event.await();
      if (i > 0) {
        // From mark to mark: a time since the first would lose its last digits to f32.
        now += NANOS_PER_MILLISECOND * mark.event.millisecondsSince(marks.get(i - 1).event);
      }
      if (mark.begun == null) {
        clock.end(Math.round(now));
      } else {
        clock.begin(mark.begun, Math.round(now));
      }
    }
    return clock.times();
  }

  @Override
  public void close() {
    marks.forEach(mark -> mark.event.close());
    marks.clear();
  }
}
