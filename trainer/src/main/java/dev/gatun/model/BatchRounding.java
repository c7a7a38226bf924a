package dev.gatun.model;

/**
 * Extents of batches as a device computes them. What a GPU does for a batch can be replayed for
 * another one of the same extents, but those of real data hardly ever repeat.
 */
public enum BatchRounding {
  /** As they are. */
  EXACT,
  /**
   * Rounded up to few different ones, by rows that stand for nothing. A batch of {@code T} tokens,
   * 512 or more, gets fewer than {@code T / 32} of them, and 128 as a rule at most. Batches whose
   * tokens are whole steps already stay as they are.
   */
  REPEATING;

  /** Steps an octave, and the smallest and largest step. */
  private record Steps(int perOctave, int smallest, int largest) {
    int step(int extent) {
      return Math.clamp(Integer.highestOneBit(extent) / perOctave, smallest, largest);
    }

    int up(int extent) {
      return Math.ceilDiv(extent, step(extent)) * step(extent);
    }
  }

  /** 128 rows are what a tile of a matrix product computes anyway. */
  private static final Steps TOKENS = new Steps(32, 16, 128);

  /** Rows of keys that no segment reads cost memory only. */
  private static final Steps KEY_ROWS = new Steps(4, 16, Integer.MAX_VALUE);

  private static final Steps SEGMENTS = new Steps(4, 4, 16);

  /** The batch with rounded extents. */
  public PackedBatch apply(PackedBatch batch) {
    int tokens = TOKENS.up(batch.numTokens());
    if (this == EXACT || tokens == batch.numTokens()) {
      return batch;
    }
    // Segments that stand for nothing have a token each.
    int segments = SEGMENTS.up(batch.numSegments() + 1);
    if (tokens - batch.numTokens() < segments - batch.numSegments()) {
      tokens += TOKENS.step(batch.numTokens());
    }
    int keyRows = KEY_ROWS.up(batch.numKeyRows() + tokens - batch.numTokens());
    return batch.padded(tokens, keyRows, segments);
  }
}
