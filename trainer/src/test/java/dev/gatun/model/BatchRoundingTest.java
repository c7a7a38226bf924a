package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.model.PackedBatch.Sequence;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

final class BatchRoundingTest {
  private static PackedBatch random(Random random, int pairs, int longest) {
    List<Sequence> sequences = new ArrayList<>();
    for (int i = 0; i < pairs; i++) {
      sequences.add(
          new Sequence(
              new int[1 + random.nextInt(longest)],
              List.of(new int[1 + random.nextInt(longest)], new int[1 + random.nextInt(longest)])));
    }
    return PackedBatch.of(sequences);
  }

  @Test
  void exactIsAsItWas() {
    PackedBatch batch = random(new Random(1), 3, 50);
    assertSame(batch, BatchRounding.EXACT.apply(batch));
    PackedBatch whole = PackedBatch.of(List.of(new Sequence(new int[60], List.of(new int[4]))));
    assertSame(whole, BatchRounding.REPEATING.apply(whole));
  }

  @Test
  void paddingIsSmallAndApart() {
    Random random = new Random(2);
    for (int i = 0; i < 500; i++) {
      PackedBatch batch = random(random, 1 + random.nextInt(60), 1 + random.nextInt(400));
      PackedBatch padded = BatchRounding.REPEATING.apply(batch);
      int tokens = batch.numTokens();
      int padding = padded.numTokens() - tokens;
      assertEquals(padding, padded.paddingTokens());
      assertEquals(tokens, padded.numSequenceTokens());
      // A step or two of T / 32: two where the new segments need more tokens than one leaves.
      assertTrue(padding < Math.max(32, tokens / 16), tokens + " + " + padding);
      assertTrue(padding < 128 + 16, tokens + " + " + padding);
      assertEquals(0, padded.numTokens() % 16);

      boolean[] queries = new boolean[padded.numTokens()];
      boolean[] keys = new boolean[padded.numKeyRows()];
      int[] fields = padded.segments();
      for (int s = 0; s < fields.length; s += 4) {
        assertTrue(fields[s + 1] >= 1 && fields[s + 3] >= fields[s + 1]);
        assertTrue(s < batch.segments().length == fields[s] < tokens);
        for (int q = fields[s]; q < fields[s] + fields[s + 1]; q++) {
          assertTrue(!queries[q]);
          queries[q] = true;
        }
        for (int k = fields[s + 2]; k < fields[s + 2] + fields[s + 3]; k++) {
          assertTrue(!keys[k]);
          keys[k] = true;
        }
      }
      for (int t = 0; t < padded.numTokens(); t++) {
        assertTrue(queries[t] && keys[padded.keyRows()[t]], "token " + t);
      }
      for (int row : padded.rows()) {
        assertTrue(row < tokens);
      }
    }
  }

  /** Packs filled to a budget: what a GPU sees most of the time. */
  @Test
  void extentsRepeat() {
    Random random = new Random(3);
    Set<List<Integer>> exact = new HashSet<>();
    Set<List<Integer>> rounded = new HashSet<>();
    int packs = 1000;
    long padding = 0;
    long tokens = 0;
    for (int i = 0; i < packs; i++) {
      PackedBatch batch = random(random, 24, 448);
      PackedBatch padded = BatchRounding.REPEATING.apply(batch);
      exact.add(List.of(batch.numTokens(), batch.numKeyRows(), batch.numSegments()));
      rounded.add(List.of(padded.numTokens(), padded.numKeyRows(), padded.numSegments()));
      padding += padded.paddingTokens();
      tokens += batch.numTokens();
    }
    assertTrue(exact.size() > 990, "exact: " + exact.size());
    assertTrue(rounded.size() < packs / 8, "rounded: " + rounded.size());
    assertTrue(padding < tokens / 100, padding + " of " + tokens);
  }
}
