package dev.gatun.report;

import java.util.List;

/**
 * What a run is about to do.
 *
 * @param rows what a row of its data is
 * @param totalSteps optimizer steps
 * @param totalEpochs passes over the data, the last perhaps a part
 * @param rowsPerStep rows in a full optimizer step
 * @param rowsPerMicroBatch rows in a full micro-batch
 * @param loggingInterval optimizer steps between two log lines
 * @param logsFirstStep whether step 1 has a line of its own
 * @param saveInterval optimizer steps between two saved models; 0: none before the end
 * @param dtype storage type of weights and activations, as users spell it
 * @param peakFlopsPerSecond what the device can do at best, for {@link MetricName#MFU}; 0: not
 *     known
 * @param notes lines for the user: data report, memory, source of the reference log-probs, backend
 */
public record RunPlan(
    Rows rows,
    long totalSteps,
    double totalEpochs,
    int rowsPerStep,
    int rowsPerMicroBatch,
    long loggingInterval,
    boolean logsFirstStep,
    long saveInterval,
    String dtype,
    double peakFlopsPerSecond,
    List<String> notes) {
  /** What a row is. */
  public enum Rows {
    PAIRS(MetricName.PAIRS_PER_SECOND),
    SAMPLES(MetricName.SAMPLES_PER_SECOND);

    private final MetricName perSecond;

    Rows(MetricName perSecond) {
      this.perSecond = perSecond;
    }

    MetricName perSecond() {
      return perSecond;
    }
  }

  public RunPlan {
    if (totalSteps < 1 || loggingInterval < 1 || saveInterval < 0) {
      throw new IllegalArgumentException(
          "%d steps, logging every %d, saving every %d"
              .formatted(totalSteps, loggingInterval, saveInterval));
    }
    notes = List.copyOf(notes);
  }
}
