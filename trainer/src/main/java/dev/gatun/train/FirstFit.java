package dev.gatun.train;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;

/**
 * Puts what is computed together into packs of limited length: as few packs as first-fit-decreasing
 * needs, and these as even as longest-first makes them, since a short last pack costs nearly as
 * much as a full one and a full one more memory. Depends on nothing but order and lengths.
 */
final class FirstFit {
  private FirstFit() {}

  /**
   * The packs, each in the order of {@code units}, and in the order of their first units. A unit
   * longer than the limit has a pack of its own.
   */
  static <T> List<List<T>> pack(List<T> units, ToLongFunction<T> length, long limit) {
    long[] lengths = units.stream().mapToLong(length).toArray();
    int[] longestFirst =
        IntStream.range(0, lengths.length)
            .boxed()
            .sorted(Comparator.comparingLong((Integer unit) -> -lengths[unit]))
            .mapToInt(Integer::intValue)
            .toArray();
    Bins bins = firstFit(lengths, longestFirst, limit);
    Bins even = even(lengths, longestFirst, bins.totals.size());
    if (even.totals.stream().allMatch(total -> total <= limit)) {
      bins = even;
    }
    List<List<T>> packs = new ArrayList<>();
    int[] packOfBin = new int[bins.totals.size()];
    for (int unit = 0; unit < lengths.length; unit++) {
      int bin = bins.binOf[unit];
      if (packOfBin[bin] == 0) {
        packs.add(new ArrayList<>());
        packOfBin[bin] = packs.size();
      }
      packs.get(packOfBin[bin] - 1).add(units.get(unit));
    }
    return packs;
  }

  /** Which bin each unit is in, and how long the bins are. */
  private record Bins(int[] binOf, List<Long> totals) {
    void put(int unit, long length, int bin) {
      binOf[unit] = bin;
      totals.set(bin, totals.get(bin) + length);
    }
  }

  private static Bins firstFit(long[] lengths, int[] longestFirst, long limit) {
    Bins bins = new Bins(new int[lengths.length], new ArrayList<>());
    for (int unit : longestFirst) {
      int bin = 0;
      while (bin < bins.totals.size() && bins.totals.get(bin) + lengths[unit] > limit) {
        bin++;
      }
      if (bin == bins.totals.size()) {
        bins.totals.add(0L);
      }
      bins.put(unit, lengths[unit], bin);
    }
    return bins;
  }

  /** Each unit into the bin that is shortest by then. */
  private static Bins even(long[] lengths, int[] longestFirst, int count) {
    Bins bins = new Bins(new int[lengths.length], new ArrayList<>());
    for (int bin = 0; bin < count; bin++) {
      bins.totals.add(0L);
    }
    for (int unit : longestFirst) {
      int shortest = 0;
      for (int bin = 1; bin < count; bin++) {
        if (bins.totals.get(bin) < bins.totals.get(shortest)) {
          shortest = bin;
        }
      }
      bins.put(unit, lengths[unit], shortest);
    }
    return bins;
  }
}
