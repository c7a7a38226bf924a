package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class TrainingScheduleTest {

  private static SampleOrder order(SamplingStrategy strategy, int rows, long seed) {
    int[] lengths = new Random(7).ints(rows, 1, 1000).toArray();
    return new SampleOrder(strategy, seed, lengths, 4);
  }

  @ParameterizedTest
  @EnumSource(SamplingStrategy.class)
  void everyEpochVisitsEveryRowOnce(SamplingStrategy strategy) {
    for (int rows : new int[] {1, 2, 15, 16, 17, 1000}) {
      SampleOrder order = order(strategy, rows, 42);
      for (int epoch = 0; epoch < 3; epoch++) {
        int[] visited = order.epoch(epoch);
        assertArrayEquals(visited, order(strategy, rows, 42).epoch(epoch), "a pure function");
        Arrays.sort(visited);
        assertArrayEquals(IntStream.range(0, rows).toArray(), visited);
      }
    }
  }

  @Test
  void randomOrdersDifferBySeedAndEpoch() {
    int[] first = order(SamplingStrategy.RANDOM, 100, 1).epoch(0);
    assertFalse(Arrays.equals(first, order(SamplingStrategy.RANDOM, 100, 1).epoch(1)));
    assertFalse(Arrays.equals(first, order(SamplingStrategy.RANDOM, 100, 2).epoch(0)));
    assertFalse(Arrays.equals(first, order(SamplingStrategy.SEQUENTIAL, 100, 1).epoch(0)));
  }

  /**
   * The order is part of what a checkpoint means, so a release must not change it unawares.
   * Expected values from the same published algorithms, written in Python.
   */
  @Test
  void randomOrderStaysAsItIs() {
    SampleOrder order = order(SamplingStrategy.RANDOM, 8, 42);
    assertArrayEquals(new int[] {2, 5, 0, 1, 6, 4, 7, 3}, order.epoch(0));
    assertArrayEquals(new int[] {5, 7, 0, 6, 2, 4, 3, 1}, order.epoch(1));
  }

  /**
   * Each of 5! orders comes up about equally often: chi-square with 119 degrees of freedom has mean
   * 119 and standard deviation sqrt(238) = 15.4; five of those above the mean is 196.
   */
  @Test
  void permutationsAreUniform() {
    int draws = 120_000;
    int[] counts = new int[3125];
    for (int i = 0; i < draws; i++) {
      int code = 0;
      for (int row : Permutation.of(5, i % 1000, i / 1000)) {
        code = 5 * code + row;
      }
      counts[code]++;
    }
    double expected = draws / 120.0;
    double chiSquare = 0;
    int orders = 0;
    for (int count : counts) {
      if (count > 0) {
        orders++;
        chiSquare += (count - expected) * (count - expected) / expected;
      }
    }
    assertEquals(120, orders);
    assertTrue(chiSquare < 196, "chi-square " + chiSquare);
  }

  @Test
  void groupsByFallingLengthWithTheLongestFirst() {
    int[] lengths = new Random(3).ints(103, 1, 1000).toArray();
    SampleOrder order = new SampleOrder(SamplingStrategy.GROUP_BY_LENGTH, 9, lengths, 4);
    int[] visited = order.epoch(0);

    assertEquals(Arrays.stream(lengths).max().getAsInt(), lengths[visited[0]]);
    // 103 / (4 * 4) = 6 batches of 4 make a stretch; its first row may have been swapped away.
    for (int from = 0; from < 103; from += 24) {
      for (int i = from + 2; i < Math.min(from + 24, 103); i++) {
        assertTrue(lengths[visited[i - 1]] >= lengths[visited[i]], "row " + i);
      }
    }
  }

  /** rows, micro-batch, accumulation, epochs, steps per epoch, steps; as transformers computes. */
  @ParameterizedTest
  @CsvSource({
    "96, 5, 3, 3, 7, 21",
    "96, 5, 1, 3, 20, 60",
    "96, 5, 3, 0.5, 7, 4",
    "96, 2, 2, 1, 24, 24",
    "10, 4, 8, 3, 1, 3",
    "10, 4, 8, 0.01, 1, 1",
    "1, 1, 1, 2.5, 1, 3",
    "100, 8, 1, 1.1, 13, 15"
  })
  void epochsBecomeSteps(
      int rows, int microBatch, int accumulation, double epochs, int perEpoch, int steps) {
    TrainingSchedule schedule =
        TrainingSchedule.ofEpochs(
            order(SamplingStrategy.SEQUENTIAL, rows, 0), microBatch, accumulation, epochs);
    assertEquals(perEpoch, schedule.stepsPerEpoch());
    assertEquals(steps, schedule.totalSteps());
  }

  @Test
  void stepsDoNotMixEpochs() {
    TrainingSchedule schedule =
        TrainingSchedule.ofSteps(order(SamplingStrategy.RANDOM, 11, 5), 2, 4, 6);
    assertEquals(3, schedule.epochs());
    for (int epoch = 0; epoch < 3; epoch++) {
      TrainingSchedule.Step full = schedule.step(2 * epoch + 1);
      TrainingSchedule.Step rest = schedule.step(2 * epoch + 2);
      assertEquals(List.of(2, 2, 2, 2), sizes(full));
      assertEquals(List.of(2, 1), sizes(rest));
      assertEquals(epoch + 4 / 6.0, full.epochsDone());
      assertEquals(epoch + 1.0, rest.epochsDone());
      List<Integer> rows = new ArrayList<>();
      full.microBatches().forEach(batch -> Arrays.stream(batch).forEach(rows::add));
      rest.microBatches().forEach(batch -> Arrays.stream(batch).forEach(rows::add));
      assertEquals(
          Arrays.stream(order(SamplingStrategy.RANDOM, 11, 5).epoch(epoch)).boxed().toList(), rows);
    }
  }

  @Test
  void aResumedScheduleContinuesAsTheFirst() {
    TrainingSchedule first =
        TrainingSchedule.ofSteps(order(SamplingStrategy.RANDOM, 50, 5), 3, 2, 40);
    for (int step = 1; step < 23; step++) {
      first.step(step);
    }
    TrainingSchedule resumed =
        TrainingSchedule.ofSteps(order(SamplingStrategy.RANDOM, 50, 5), 3, 2, 40);
    for (int step = 23; step <= 40; step++) {
      List<int[]> expected = first.step(step).microBatches();
      List<int[]> actual = resumed.step(step).microBatches();
      assertEquals(expected.size(), actual.size());
      for (int i = 0; i < expected.size(); i++) {
        assertArrayEquals(expected.get(i), actual.get(i));
      }
    }
  }

  @Test
  void refusesWhatIsNoSchedule() {
    SampleOrder order = order(SamplingStrategy.SEQUENTIAL, 4, 0);
    assertThrows(IllegalArgumentException.class, () -> TrainingSchedule.ofSteps(order, 0, 1, 1));
    assertThrows(IllegalArgumentException.class, () -> TrainingSchedule.ofSteps(order, 1, 0, 1));
    assertThrows(IllegalArgumentException.class, () -> TrainingSchedule.ofSteps(order, 1, 1, 0));
    assertThrows(
        IllegalArgumentException.class, () -> TrainingSchedule.ofEpochs(order, 1, 1, Double.NaN));
    TrainingSchedule schedule = TrainingSchedule.ofSteps(order, 1, 1, 3);
    assertThrows(IllegalArgumentException.class, () -> schedule.step(0));
    assertThrows(IllegalArgumentException.class, () -> schedule.step(4));
  }

  private static List<Integer> sizes(TrainingSchedule.Step step) {
    return step.microBatches().stream().map(batch -> batch.length).toList();
  }
}
