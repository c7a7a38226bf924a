package dev.gatun.model;

import java.util.Arrays;
import java.util.List;

/**
 * Sequences laid end to end without padding, each a prompt and one or two answers that share it:
 *
 * <pre>
 *   tokens     [ prompt | first answer | second answer ] [ prompt | ... ] ...
 *   positions    0 .. P-1  P ..           P ..
 *   keys       [ prompt | first answer | prompt copy | second answer ] ...
 * </pre>
 *
 * <p>Attention runs over {@code (queryBegin, queryLength, keyBegin, keyLength)} segments, causal
 * and aligned bottom-right: the prompt and first answer over themselves, the second answer over the
 * copy of the prompt and itself. So the prompt is computed once, and no special mask is needed.
 * Behind the keys and values of the last layer, prompts matter no more but for the last row of
 * each: there the segments begin with it.
 *
 * <p>Prediction rows are the token rows that predict an answer token: the last prompt row (for the
 * first token of every answer) and every answer row but the last. Predictions are counted in two
 * orders: by row (what the head computes) and by answer (what the loss sums); {@link #byAnswer} and
 * {@link #byRow} translate. Both keep a sequence's predictions in one range. Without a prompt, an
 * answer's first token is context only.
 *
 * @param tokenIds {@code [tokens]}
 * @param positions {@code [tokens]} position of each token in its own sequence
 * @param keyRows {@code [tokens]} row of the key buffer that holds the token's key
 * @param keyCopyRows {@code [tokens]} second such row, or -1
 * @param numKeyRows rows of the key buffer
 * @param segments {@code [segments * 4]}
 * @param lastSegments {@code [segments * 4]} those of the last layer
 * @param rows {@code [rows]} token rows that predict
 * @param predictionBegin {@code [rows + 1]} predictions of row r, by row, are {@code
 *     [predictionBegin[r], predictionBegin[r + 1])}
 * @param targets {@code [predictions]} token predicted, by row
 * @param byAnswer {@code [predictions]} index by row of each prediction by answer
 * @param byRow {@code [predictions]} index by answer of each prediction by row
 * @param rowByAnswer {@code [predictions]} index into {@code rows} of each prediction by answer
 * @param answerBegin {@code [answers + 1]} predictions of answer a, by answer
 * @param sequenceRows {@code [sequences + 1]} range of {@code rows} of each sequence
 * @param answersPerSequence 1 or 2
 * @param paddingTokens tokens at the end that stand for nothing: in segments of their own, and not
 *     predicting, they change neither a loss nor a gradient; see {@link BatchRounding}
 */
public record PackedBatch(
    int[] tokenIds,
    int[] positions,
    int[] keyRows,
    int[] keyCopyRows,
    int numKeyRows,
    int[] segments,
    int[] lastSegments,
    int[] rows,
    int[] predictionBegin,
    int[] targets,
    int[] byAnswer,
    int[] byRow,
    int[] rowByAnswer,
    int[] answerBegin,
    int[] sequenceRows,
    int answersPerSequence,
    int paddingTokens) {

  /** A prompt and its answers; either may be empty, not both. */
  public record Sequence(int[] prompt, List<int[]> answers) {
    /** Rows it takes in a batch. */
    public int numTokens() {
      return prompt.length + answers.stream().mapToInt(answer -> answer.length).sum();
    }
  }

  /**
   * Tokens whose keys go to a cache: nothing is predicted, the head reads the last row of each
   * segment.
   *
   * @param keyRows {@code [tokens]} cache row of each token's key
   * @param segments {@code [segments * 4]}, keys counted in cache rows
   * @param cacheRows rows of the cache
   */
  static PackedBatch cached(
      int[] tokenIds, int[] positions, int[] keyRows, int cacheRows, int[] segments) {
    int[] lastSegments = segments.clone();
    int[] rows = new int[segments.length / 4];
    for (int s = 0; s < rows.length; s++) {
      rows[s] = segments[4 * s] + segments[4 * s + 1] - 1;
      lastSegments[4 * s] = rows[s];
      lastSegments[4 * s + 1] = 1;
    }
    int[] noCopies = new int[tokenIds.length];
    Arrays.fill(noCopies, -1);
    int[] none = new int[0];
    return new PackedBatch(
        tokenIds,
        positions,
        keyRows,
        noCopies,
        cacheRows,
        segments,
        lastSegments,
        rows,
        new int[rows.length + 1],
        none,
        none,
        none,
        none,
        new int[1],
        new int[1],
        1,
        0);
  }

  /** Packs sequences that all have the same number of answers. */
  public static PackedBatch of(List<Sequence> sequences) {
    if (sequences.isEmpty()) {
      throw new IllegalArgumentException("a batch needs at least one sequence");
    }
    int answers = sequences.getFirst().answers().size();
    if (answers < 1 || answers > 2) {
      throw new IllegalArgumentException(answers + " answers per prompt; 1 or 2 are supported");
    }
    return new Packer(sequences, answers).pack();
  }

  /**
   * This batch with tokens that stand for nothing behind its own.
   *
   * @param tokens of the result; at least one more for each new segment
   * @param keyRows of the result; at least one more for each new token
   * @param segments of the result; more than before
   */
  PackedBatch padded(int tokens, int keyRows, int segments) {
    int padding = tokens - numTokens();
    int newSegments = segments - numSegments();
    if (paddingTokens != 0
        || newSegments < 1
        || padding < newSegments
        || keyRows < numKeyRows + padding) {
      throw new IllegalArgumentException(
          "batch of %d tokens, %d key rows and %d segments padded to %d, %d and %d"
              .formatted(numTokens(), numKeyRows, numSegments(), tokens, keyRows, segments));
    }
    int[] newKeyRows = Arrays.copyOf(this.keyRows, tokens);
    int[] newKeyCopyRows = Arrays.copyOf(keyCopyRows, tokens);
    for (int i = 0; i < padding; i++) {
      newKeyRows[numTokens() + i] = numKeyRows + i;
      newKeyCopyRows[numTokens() + i] = -1;
    }
    int[] fields = Arrays.copyOf(this.segments, 4 * segments);
    int[] lastFields = Arrays.copyOf(lastSegments, 4 * segments);
    for (int i = 0; i < newSegments; i++) {
      // One token each, and the last all others.
      int length = i == newSegments - 1 ? padding - i : 1;
      int[] segment = {numTokens() + i, length, numKeyRows + i, length};
      System.arraycopy(segment, 0, fields, 4 * (numSegments() + i), 4);
      // The gradients of all keys are written, though no row reads them.
      int[] last = {numTokens() + i + length - 1, 1, numKeyRows + i, length};
      System.arraycopy(last, 0, lastFields, 4 * (numSegments() + i), 4);
    }
    return new PackedBatch(
        Arrays.copyOf(tokenIds, tokens),
        Arrays.copyOf(positions, tokens),
        newKeyRows,
        newKeyCopyRows,
        keyRows,
        fields,
        lastFields,
        rows,
        predictionBegin,
        targets,
        byAnswer,
        byRow,
        rowByAnswer,
        answerBegin,
        sequenceRows,
        answersPerSequence,
        padding);
  }

  /** Rows that are computed, padding included. */
  public int numTokens() {
    return tokenIds.length;
  }

  /** Tokens of the sequences. */
  public int numSequenceTokens() {
    return tokenIds.length - paddingTokens;
  }

  public int numRows() {
    return rows.length;
  }

  public int numPredictions() {
    return targets.length;
  }

  public int numSequences() {
    return sequenceRows.length - 1;
  }

  public int numSegments() {
    return segments.length / 4;
  }

  /** Keys of the segment that has most. */
  public int longestKeys() {
    int longest = 0;
    for (int i = 3; i < segments.length; i += 4) {
      longest = Math.max(longest, segments[i]);
    }
    return longest;
  }

  /** Predictions of the sequence; for answers with a prompt, its answer tokens. */
  public int predictionsOf(int sequence) {
    return answerBegin[(sequence + 1) * answersPerSequence]
        - answerBegin[sequence * answersPerSequence];
  }

  private static final class Packer {
    private final List<Sequence> sequences;
    private final int answersPerSequence;
    private final int[] tokenIds;
    private final int[] positions;
    private final int[] keyRows;
    private final int[] keyCopyRows;
    private final int[] segments;
    private final int[] lastSegments;
    private final int[] rows;
    private final int[] predictionBegin;
    private final int[] targets;
    private final int[] byAnswer;
    private final int[] byRow;
    private final int[] rowByAnswer;
    private final int[] answerBegin;
    private final int[] sequenceRows;
    private int token;
    private int key;
    private int segment;
    private int row;
    private int prediction;

    Packer(List<Sequence> sequences, int answersPerSequence) {
      this.sequences = sequences;
      this.answersPerSequence = answersPerSequence;
      int tokens = sequences.stream().mapToInt(Sequence::numTokens).sum();
      tokenIds = new int[tokens];
      positions = new int[tokens];
      keyRows = new int[tokens];
      keyCopyRows = new int[tokens];
      segments = new int[sequences.size() * answersPerSequence * 4];
      lastSegments = new int[segments.length];
      rows = new int[tokens];
      predictionBegin = new int[tokens + 1];
      targets = new int[tokens];
      byAnswer = new int[tokens];
      byRow = new int[tokens];
      rowByAnswer = new int[tokens];
      answerBegin = new int[sequences.size() * answersPerSequence + 1];
      sequenceRows = new int[sequences.size() + 1];
    }

    PackedBatch pack() {
      for (int s = 0; s < sequences.size(); s++) {
        add(sequences.get(s), s);
      }
      return new PackedBatch(
          tokenIds,
          positions,
          keyRows,
          keyCopyRows,
          key,
          Arrays.copyOf(segments, segment * 4),
          Arrays.copyOf(lastSegments, segment * 4),
          Arrays.copyOf(rows, row),
          Arrays.copyOf(predictionBegin, row + 1),
          Arrays.copyOf(targets, prediction),
          Arrays.copyOf(byAnswer, prediction),
          Arrays.copyOf(byRow, prediction),
          Arrays.copyOf(rowByAnswer, prediction),
          answerBegin,
          sequenceRows,
          answersPerSequence,
          0);
    }

    private void add(Sequence sequence, int s) {
      int[] prompt = sequence.prompt();
      if (sequence.answers().size() != answersPerSequence || sequence.numTokens() == 0) {
        throw new IllegalArgumentException(
            "sequence %d has %d answers and %d tokens, expected %d answers and at least one token"
                .formatted(s, sequence.answers().size(), sequence.numTokens(), answersPerSequence));
      }
      int promptBegin = token;
      int promptKeys = key;
      place(prompt, 0, key);
      key += prompt.length;
      for (int a = 0; a < answersPerSequence; a++) {
        int[] answer = sequence.answers().get(a);
        int queryBegin = token;
        int keyBegin = key;
        if (a == 0) {
          queryBegin = promptBegin;
          keyBegin = promptKeys;
        } else if (answer.length > 0) {
          for (int i = 0; i < prompt.length; i++) {
            keyCopyRows[promptBegin + i] = key++;
          }
        }
        place(answer, prompt.length, key);
        key += answer.length;
        int promptRows = a == 0 ? Math.max(0, prompt.length - 1) : 0; // that predict nothing
        addSegment(queryBegin, promptRows, token - queryBegin, keyBegin, key - keyBegin);
      }
      addPredictions(sequence, s, promptBegin);
    }

    /** Appends tokens; their keys go to consecutive rows from {@code keyBegin}. */
    private void place(int[] ids, int firstPosition, int keyBegin) {
      for (int i = 0; i < ids.length; i++) {
        tokenIds[token] = ids[i];
        positions[token] = firstPosition + i;
        keyRows[token] = keyBegin + i;
        keyCopyRows[token] = -1;
        token++;
      }
    }

    /** Without its first {@code notLast} queries in the last layer. */
    private void addSegment(
        int queryBegin, int notLast, int queryLength, int keyBegin, int keyLength) {
      if (queryLength > 0) {
        int[] values = {queryBegin, queryLength, keyBegin, keyLength};
        System.arraycopy(values, 0, segments, 4 * segment, 4);
        int[] last = {queryBegin + notLast, queryLength - notLast, keyBegin, keyLength};
        System.arraycopy(last, 0, lastSegments, 4 * segment, 4);
        segment++;
      }
    }

    private void addPredictions(Sequence sequence, int s, int promptBegin) {
      int promptLength = sequence.prompt().length;
      int firstAnswer = s * answersPerSequence;
      int next = answerBegin[firstAnswer];
      for (int a = 0; a < answersPerSequence; a++) {
        int length = sequence.answers().get(a).length;
        next += promptLength == 0 ? Math.max(0, length - 1) : length;
        answerBegin[firstAnswer + a + 1] = next;
      }
      if (promptLength > 0) {
        boolean predicts = false;
        for (int a = 0; a < answersPerSequence; a++) {
          int[] answer = sequence.answers().get(a);
          if (answer.length > 0) {
            predict(answer[0], answerBegin[firstAnswer + a]);
            predicts = true;
          }
        }
        if (predicts) {
          endRow(promptBegin + promptLength - 1);
        }
      }
      int answerRow = promptBegin + promptLength;
      for (int a = 0; a < answersPerSequence; a++) {
        int[] answer = sequence.answers().get(a);
        int first = answerBegin[firstAnswer + a] + (promptLength > 0 ? 1 : 0);
        for (int i = 1; i < answer.length; i++) {
          predict(answer[i], first + i - 1);
          endRow(answerRow + i - 1);
        }
        answerRow += answer.length;
      }
      sequenceRows[s + 1] = row;
    }

    private void predict(int target, int indexByAnswer) {
      targets[prediction] = target;
      byAnswer[indexByAnswer] = prediction;
      byRow[prediction] = indexByAnswer;
      rowByAnswer[indexByAnswer] = row;
      prediction++;
    }

    private void endRow(int tokenRow) {
      rows[row++] = tokenRow;
      predictionBegin[row] = prediction;
    }
  }
}
