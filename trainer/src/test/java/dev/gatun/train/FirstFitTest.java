package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FirstFitTest {
  private static List<List<Integer>> pack(List<Integer> lengths, long limit) {
    return FirstFit.pack(lengths, Integer::longValue, limit);
  }

  @Test
  void whatFitsTogetherStaysTogetherAndInOrder() {
    assertEquals(List.of(List.of(3, 9, 1)), pack(List.of(3, 9, 1), 13));
  }

  @Test
  void fillsFewerPacksThanTheOrderOfRowsWould() {
    // In order it would be [60], [50, 30], [70], [40].
    assertEquals(
        List.of(List.of(60, 30), List.of(50, 40), List.of(70)),
        pack(List.of(60, 50, 30, 70, 40), 100));
  }

  @Test
  void packsAreEvenRatherThanFull() {
    assertEquals(List.of(List.of(10, 10), List.of(10, 10)), pack(List.of(10, 10, 10, 10), 30));
  }

  @Test
  void whatIsLongerThanAPackIsAlone() {
    assertEquals(List.of(List.of(5), List.of(200), List.of(96)), pack(List.of(5, 200, 96), 100));
  }

  @Test
  void everyUnitIsInOnePackOfLimitedLength() {
    long seed = 11;
    Random random = new Random(seed);
    for (int round = 0; round < 200; round++) {
      List<Integer> lengths = random.ints(1 + random.nextInt(40), 1, 500).boxed().toList();
      int limit = 400 + random.nextInt(1000);
      List<List<Integer>> packs = pack(lengths, limit);
      List<Integer> packed = new ArrayList<>();
      for (List<Integer> pack : packs) {
        int total = pack.stream().mapToInt(Integer::intValue).sum();
        assertTrue(total <= limit || pack.size() == 1, "seed " + seed + ", round " + round);
        packed.addAll(pack);
      }
      assertEquals(
          lengths.stream().sorted().toList(),
          packed.stream().sorted().toList(),
          "seed " + seed + ", round " + round);
      // The second of any two packs was begun because what is in it did not fit into the first.
      long total = lengths.stream().mapToLong(Integer::longValue).sum();
      assertTrue(
          packs.size() == 1 || (long) packs.size() * limit < 2 * total,
          "seed " + seed + ", round " + round);
    }
  }
}
