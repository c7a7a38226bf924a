package dev.gatun.report;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;

/**
 * What one optimizer step measured.
 *
 * @param step number of the step, from 1
 * @param microBatches micro-batches in the step; values are means over them, unless their name says
 *     otherwise
 * @param values the metrics, in TRL's order
 * @param work what the step cost
 */
public record StepMetrics(
    long step, int microBatches, Map<MetricName, Double> values, StepWork work) {
  public StepMetrics {
    if (step < 1 || microBatches < 1) {
      throw new IllegalArgumentException("step " + step + " of " + microBatches + " micro-batches");
    }
    values = Collections.unmodifiableMap(new EnumMap<>(values));
  }

  /** The value of a metric; NaN if the step has none. */
  public double value(MetricName name) {
    return values.getOrDefault(name, Double.NaN);
  }
}
