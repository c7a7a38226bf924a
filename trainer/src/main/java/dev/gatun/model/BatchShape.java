package dev.gatun.model;

/**
 * The counts that decide how much memory a batch takes.
 *
 * @param longestKeys most keys that a query may see
 * @param chunkRows prediction rows of the largest chunk that the head makes logits for at a time
 */
public record BatchShape(
    int tokens,
    int keyRows,
    int rows,
    int predictions,
    int sequences,
    int answers,
    int segments,
    int longestKeys,
    int chunkRows) {

  /** The shape of nothing: neutral in {@link #max}. */
  public static final BatchShape EMPTY = new BatchShape(0, 0, 0, 0, 0, 0, 0, 0, 0);

  public static BatchShape of(PackedBatch batch, int chunkRows) {
    return new BatchShape(
        batch.numTokens(),
        batch.numKeyRows(),
        batch.numRows(),
        batch.numPredictions(),
        batch.numSequences(),
        batch.answerBegin().length - 1,
        batch.numSegments(),
        batch.longestKeys(),
        chunkRows);
  }

  /** Large enough for either. */
  public BatchShape max(BatchShape other) {
    return new BatchShape(
        Math.max(tokens, other.tokens),
        Math.max(keyRows, other.keyRows),
        Math.max(rows, other.rows),
        Math.max(predictions, other.predictions),
        Math.max(sequences, other.sequences),
        Math.max(answers, other.answers),
        Math.max(segments, other.segments),
        Math.max(longestKeys, other.longestKeys),
        Math.max(chunkRows, other.chunkRows));
  }
}
