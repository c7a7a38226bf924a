package dev.gatun.preference;

import dev.gatun.model.BatchShape;
import dev.gatun.model.PackedBatch;
import java.util.ArrayList;
import java.util.List;

/**
 * Cuts a batch into runs of whole sequences whose prediction rows fit the head's logits buffer. A
 * sequence is never cut: all its log-probabilities are known while its logits are still there.
 */
final class HeadChunks {
  /** Sequences {@code [begin, end)}. */
  record Chunk(int begin, int end) {
    int rowBegin(PackedBatch batch) {
      return batch.sequenceRows()[begin];
    }

    int rowEnd(PackedBatch batch) {
      return batch.sequenceRows()[end];
    }
  }

  private HeadChunks() {}

  /** Chunks of at most {@code targetRows} rows, or of one sequence that has more. */
  static List<Chunk> of(PackedBatch batch, int targetRows) {
    List<Chunk> chunks = new ArrayList<>();
    int begin = 0;
    int[] rows = batch.sequenceRows();
    for (int end = 1; end <= batch.numSequences(); end++) {
      boolean full = end == batch.numSequences() || rows[end + 1] - rows[begin] > targetRows;
      if (full) {
        chunks.add(new Chunk(begin, end));
        begin = end;
      }
    }
    return chunks;
  }

  /** The batch's shape, with the rows of its largest chunk. */
  static BatchShape shape(PackedBatch batch, int targetRows) {
    int largest = 0;
    for (Chunk chunk : of(batch, targetRows)) {
      largest = Math.max(largest, chunk.rowEnd(batch) - chunk.rowBegin(batch));
    }
    return BatchShape.of(batch, largest);
  }
}
