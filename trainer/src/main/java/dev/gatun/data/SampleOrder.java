package dev.gatun.data;

import java.util.Arrays;

/**
 * The order in which an epoch visits the rows: a pure function of strategy, seed, lengths and
 * epoch, so that a resumed run needs no replay.
 */
public final class SampleOrder {
  private static final int LARGEST_STRETCH = 50; // batches; transformers' mega_batch_mult

  private final SamplingStrategy strategy;
  private final long seed;
  private final int[] lengths;
  private final int batchSize;

  /**
   * An order of {@code lengths.length} rows.
   *
   * @param lengths tokens of each row; only {@link SamplingStrategy#GROUP_BY_LENGTH} looks at them
   * @param batchSize rows of one optimizer step; only {@link SamplingStrategy#GROUP_BY_LENGTH}
   *     looks at it
   */
  public SampleOrder(SamplingStrategy strategy, long seed, int[] lengths, int batchSize) {
    if (lengths.length == 0 || batchSize < 1) {
      throw new IllegalArgumentException(
          "got %d rows in batches of %d, expected at least 1 of each"
              .formatted(lengths.length, batchSize));
    }
    this.strategy = strategy;
    this.seed = seed;
    this.lengths = lengths.clone();
    this.batchSize = batchSize;
  }

  /** Rows in an epoch. */
  public int rows() {
    return lengths.length;
  }

  /** Indices of all rows in the order of this epoch, counted from 0. */
  public int[] epoch(int epoch) {
    return switch (strategy) {
      case SEQUENTIAL -> {
        int[] order = new int[lengths.length];
        Arrays.setAll(order, i -> i);
        yield order;
      }
      case RANDOM -> Permutation.of(lengths.length, seed, epoch);
      case GROUP_BY_LENGTH -> grouped(Permutation.of(lengths.length, seed, epoch));
    };
  }

  /**
   * Sorts stretches of a permutation by falling length and puts the longest row of all first, so
   * that a run which has too little memory fails at once (transformers 5.18,
   * get_length_grouped_indices).
   */
  private int[] grouped(int[] order) {
    int stretch = batchSize * Math.clamp(order.length / (batchSize * 4L), 1, LARGEST_STRETCH);
    int longest = 0;
    for (int from = 0; from < order.length; from += stretch) {
      int to = Math.min(from + stretch, order.length);
      int[] sorted =
          Arrays.stream(order, from, to)
              .boxed()
              .sorted((a, b) -> Integer.compare(lengths[b], lengths[a])) // stable
              .mapToInt(Integer::intValue)
              .toArray();
      System.arraycopy(sorted, 0, order, from, sorted.length);
      if (lengths[order[from]] > lengths[order[longest]]) {
        longest = from;
      }
    }
    int first = order[0];
    order[0] = order[longest];
    order[longest] = first;
    return order;
  }
}
