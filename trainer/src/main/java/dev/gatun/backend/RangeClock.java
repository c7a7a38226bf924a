package dev.gatun.backend;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;

/** Adds up what nested ranges took, each without the ranges inside it. */
final class RangeClock {
  private final Map<String, Long> nanos = new LinkedHashMap<>();
  private final Deque<String> open = new ArrayDeque<>();
  private long since;

  /** A range begins, inside the one that began last and has not ended. */
  void begin(String name, long now) {
    passOn(now);
    open.push(name);
    nanos.putIfAbsent(name, 0L);
  }

  /** The range that began last ends; nothing if it began before this clock was there. */
  void end(long now) {
    passOn(now);
    open.poll();
  }

  RangeTimes times() {
    return new RangeTimes(nanos);
  }

  private void passOn(long now) {
    String inner = open.peek();
    if (inner != null) {
      nanos.merge(inner, now - since, Long::sum);
    }
    since = now;
  }
}
