package dev.gatun.backend;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Where the time between {@link Backend#startTiming} and {@link Backend#stopTiming} went.
 *
 * @param nanos by name, in the order in which the ranges began first: what each range took, all its
 *     occurrences together, without what ranges inside it took. The sum is what the outermost
 *     ranges took.
 */
public record RangeTimes(Map<String, Long> nanos) {
  public RangeTimes {
    nanos = Collections.unmodifiableMap(new LinkedHashMap<>(nanos));
  }

  /** What the outermost ranges took. */
  public long totalNanos() {
    return nanos.values().stream().mapToLong(Long::longValue).sum();
  }
}
