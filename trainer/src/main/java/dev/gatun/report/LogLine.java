package dev.gatun.report;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;

/**
 * The steps since the last log line, summarized.
 *
 * @param step the last of them
 * @param values the metrics, in TRL's order
 */
public record LogLine(long step, Map<MetricName, Double> values) {
  public LogLine {
    values = Collections.unmodifiableMap(new EnumMap<>(values));
  }

  /** The value of a metric; NaN if the line has none. */
  public double value(MetricName name) {
    return values.getOrDefault(name, Double.NaN);
  }
}
