package dev.gatun.report;

import java.util.List;

/**
 * How a run ended.
 *
 * @param end why it ended
 * @param steps optimizer steps done
 * @param epoch passes over the data done
 * @param rows rows trained on
 * @param seconds wall time of the steps
 * @param meanLoss mean of the steps' losses
 * @param usefulFlops as {@link StepWork#usefulFlops}, over the run
 * @param notes lines for the user: what the device has to say
 */
public record RunSummary(
    End end,
    long steps,
    double epoch,
    long rows,
    double seconds,
    double meanLoss,
    double usefulFlops,
    List<String> notes) {
  /** Why a run ended. */
  public enum End {
    COMPLETED,
    /** Asked to stop; the step under way was finished. */
    INTERRUPTED
  }

  public RunSummary {
    notes = List.copyOf(notes);
  }

  double perSecond(long count) {
    return seconds > 0 ? count / seconds : 0;
  }
}
