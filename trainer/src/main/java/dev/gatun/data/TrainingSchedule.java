package dev.gatun.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Which rows each optimizer step trains on, as transformers' Trainer (5.18) cuts them: an epoch is
 * cut into micro-batches of which the last may be short, {@code accumulation} micro-batches make a
 * step, of which an epoch's last may have fewer, and no step holds rows of two epochs. Any step can
 * be asked for; asking in order computes each epoch's order once. Not thread-safe.
 */
public final class TrainingSchedule {
  private final SampleOrder order;
  private final int microBatchSize;
  private final int accumulation;
  private final int totalSteps;

  private int cachedEpoch = -1;
  private int[] cachedOrder = {};

  /**
   * One optimizer step.
   *
   * @param number 1-based, as metrics count
   * @param epoch 0-based, that the rows are of
   * @param epochsDone when the step is done, as the metric {@code epoch} tells it
   * @param microBatches indices of rows
   */
  public record Step(int number, int epoch, double epochsDone, List<int[]> microBatches) {
    public Step {
      microBatches = List.copyOf(microBatches);
    }
  }

  private TrainingSchedule(
      SampleOrder order, int microBatchSize, int accumulation, int totalSteps) {
    this.order = order;
    this.microBatchSize = microBatchSize;
    this.accumulation = accumulation;
    this.totalSteps = totalSteps;
  }

  /** Trains this many steps, over as many epochs as they take. */
  public static TrainingSchedule ofSteps(
      SampleOrder order, int microBatchSize, int accumulation, int maxSteps) {
    checkAtLeastOne("microBatchSize", microBatchSize);
    checkAtLeastOne("accumulation", accumulation);
    checkAtLeastOne("maxSteps", maxSteps);
    return new TrainingSchedule(order, microBatchSize, accumulation, maxSteps);
  }

  /** Trains this many epochs, the last of which may be a part; a part of a step counts as one. */
  public static TrainingSchedule ofEpochs(
      SampleOrder order, int microBatchSize, int accumulation, double epochs) {
    TrainingSchedule one = ofSteps(order, microBatchSize, accumulation, 1);
    double steps = Math.ceil(epochs * one.stepsPerEpoch());
    if (!(steps >= 1 && steps <= Integer.MAX_VALUE)) {
      throw new IllegalArgumentException(
          "%s epochs of %d steps, expected 1 to 2147483647 steps"
              .formatted(epochs, one.stepsPerEpoch()));
    }
    return new TrainingSchedule(order, microBatchSize, accumulation, (int) steps);
  }

  private static void checkAtLeastOne(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + " is " + value + ", expected at least 1");
    }
  }

  /** Optimizer steps of the whole run. */
  public int totalSteps() {
    return totalSteps;
  }

  /** Optimizer steps that an epoch takes. */
  public int stepsPerEpoch() {
    return Math.ceilDiv(microBatchesPerEpoch(), accumulation);
  }

  /** Different rows that the run trains on: all of them, unless it ends in its first epoch. */
  public int rowsUsed() {
    return (int) Math.min(order.rows(), (long) totalSteps * accumulation * microBatchSize);
  }

  /** Epochs that the run begins. */
  public int epochs() {
    return Math.ceilDiv(totalSteps, stepsPerEpoch());
  }

  private int microBatchesPerEpoch() {
    return Math.ceilDiv(order.rows(), microBatchSize);
  }

  /**
   * The rows of a step.
   *
   * @param number 1 to {@link #totalSteps}
   */
  public Step step(int number) {
    if (number < 1 || number > totalSteps) {
      throw new IllegalArgumentException("step " + number + ", expected 1 to " + totalSteps);
    }
    int epoch = (number - 1) / stepsPerEpoch();
    if (epoch != cachedEpoch) {
      cachedOrder = order.epoch(epoch);
      cachedEpoch = epoch;
    }
    int first = (number - 1) % stepsPerEpoch() * accumulation;
    int last = Math.min(first + accumulation, microBatchesPerEpoch());
    List<int[]> microBatches = new ArrayList<>();
    for (int i = first; i < last; i++) {
      int from = i * microBatchSize;
      int to = (int) Math.min((long) from + microBatchSize, order.rows());
      microBatches.add(Arrays.copyOfRange(cachedOrder, from, to));
    }
    return new Step(number, epoch, epoch + (double) last / microBatchesPerEpoch(), microBatches);
  }
}
