package dev.gatun.train;

import dev.gatun.backend.Numerics;
import dev.gatun.data.PairTokens;
import dev.gatun.data.TrainingSchedule;
import dev.gatun.hf.FormatException;
import dev.gatun.store.AnswerLogProbs;
import dev.gatun.store.ReferenceKey;
import dev.gatun.store.ReferenceKeys;
import dev.gatun.store.ReferenceStore;
import dev.gatun.store.StoreException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The reference's log-probabilities by row: those that this run has scored, and those that a store
 * had when it began. New ones go to the store, a pack at a time.
 *
 * <p>A row is looked for under the key that it would be stored under if it were scored now, in the
 * first pack of the schedule that holds it. Where the backend gives a row the same bits in every
 * pack, the key has no pack in it, and runs of any order share the score; where it does not, only
 * runs that pack alike do. Either way a score found is, bit for bit, the one that would be made.
 */
final class ReferenceScores implements AutoCloseable {
  /** Keys that are looked up in one go. */
  private static final int LOOK_UP = 1024;

  private final List<PairTokens> pairs;
  private final @Nullable AnswerLogProbs[] byRow;
  private final @Nullable ReferenceKey[] keys;
  private @Nullable ReferenceStore store;
  private final List<String> notes = new ArrayList<>();
  private long missing;
  private boolean anyStored;

  private ReferenceScores(List<PairTokens> pairs, long rowsUsed) {
    this.pairs = pairs;
    this.byRow = new AnswerLogProbs[pairs.size()];
    this.keys = new ReferenceKey[pairs.size()];
    this.missing = rowsUsed;
  }

  /** Scores that only this run knows. */
  static ReferenceScores ofRun(List<PairTokens> pairs, TrainingSchedule schedule) {
    return new ReferenceScores(pairs, schedule.rowsUsed());
  }

  /**
   * Scores that later runs will find too.
   *
   * @param facts what all scores of the reference depend on
   * @param numerics of the backend that scores what is missing
   * @throws StoreException if the user named the folder and it cannot be used
   */
  static ReferenceScores stored(
      ReferenceStoreFolder folder,
      List<String> facts,
      Numerics numerics,
      List<PairTokens> pairs,
      TrainingSchedule schedule,
      StepPacker packer) {
    ReferenceScores scores = ofRun(pairs, schedule);
    try {
      scores.store = ReferenceStore.open(Objects.requireNonNull(folder.path()));
    } catch (StoreException | FormatException e) {
      if (folder.kind() == ReferenceStoreFolder.Kind.NAMED) {
        throw e;
      }
      scores.notes.add("reference store: none; " + e.getMessage());
      return scores;
    }
    try {
      scores.makeKeys(ReferenceKeys.of(facts), numerics.independentRows(), schedule, packer);
      scores.find(scores.store);
    } catch (Throwable failure) {
      scores.close();
      throw failure;
    }
    return scores;
  }

  private void makeKeys(
      ReferenceKeys reference, int independentRows, TrainingSchedule schedule, StepPacker packer) {
    long left = missing;
    for (int number = 1; left > 0 && number <= schedule.totalSteps(); number++) {
      for (StepPacker.Pack pack : packer.packs(schedule.step(number).microBatches())) {
        List<ReferenceKeys.Ids> ids = pack.rows().stream().map(row -> ids(pairs.get(row))).toList();
        ReferenceKeys.@Nullable Pack together = null;
        for (int i = 0; i < ids.size(); i++) {
          int row = pack.rows().get(i);
          if (keys[row] != null) {
            continue;
          }
          left--;
          if (fewestRows(pairs.get(row)) >= independentRows) {
            keys[row] = reference.alone(ids.get(i));
          } else {
            together = together == null ? reference.pack(ids) : together;
            keys[row] = together.key(i);
          }
        }
      }
    }
  }

  private static ReferenceKeys.Ids ids(PairTokens pair) {
    return new ReferenceKeys.Ids(pair.prompt(), pair.chosen(), pair.rejected());
  }

  /**
   * At most the rows of the smallest product that a pair takes part in, which is the head's if the
   * pair has that to itself: both answers without their last token, and the last of the prompt.
   */
  private static int fewestRows(PairTokens pair) {
    return pair.chosen().length + pair.rejected().length - 2;
  }

  private void find(ReferenceStore from) {
    long used = missing;
    List<Integer> rows = new ArrayList<>();
    for (int row = 0; row < keys.length; row++) {
      if (keys[row] != null) {
        rows.add(row);
      }
      if (rows.size() == LOOK_UP || (row == keys.length - 1 && !rows.isEmpty())) {
        find(from, rows);
        rows.clear();
      }
    }
    anyStored = missing < used;
    notes.add(
        "reference store: %s, %d of %d rows known%s"
            .formatted(
                from.folder(),
                used - missing,
                used,
                from.damaged() == 0
                    ? ""
                    : ", %d damaged and scored again".formatted(from.damaged())));
  }

  private void find(ReferenceStore from, List<Integer> rows) {
    List<ReferenceKey> wanted = new ArrayList<>();
    for (int row : rows) {
      wanted.add(Objects.requireNonNull(keys[row]));
    }
    List<@Nullable AnswerLogProbs> found = from.find(wanted);
    for (int i = 0; i < rows.size(); i++) {
      AnswerLogProbs scores = found.get(i);
      if (scores != null) {
        PairTokens pair = pairs.get(rows.get(i));
        if (scores.chosen().length != predictions(pair, pair.chosen())
            || scores.rejected().length != predictions(pair, pair.rejected())) {
          throw new IllegalStateException(
              "row %d: %d and %d scores under its key"
                  .formatted(pair.row(), scores.chosen().length, scores.rejected().length));
        }
        byRow[rows.get(i)] = scores;
        missing--;
      }
    }
  }

  /** Answer tokens that are predicted: without a prompt nothing predicts the first. */
  private static int predictions(PairTokens pair, int[] answer) {
    return pair.prompt().length > 0 ? answer.length : Math.max(0, answer.length - 1);
  }

  /** Rows that the schedule trains on and whose scores are not known yet. */
  long missing() {
    return missing;
  }

  /** Whether some scores were made by an earlier run. */
  boolean anyStored() {
    return anyStored;
  }

  /** Lines for the user: where the store is and what it had. */
  List<String> notes() {
    return List.copyOf(notes);
  }

  /** Scores of a row, or null. */
  @Nullable AnswerLogProbs get(int row) {
    return byRow[row];
  }

  /** Whether every row of a pack is known. */
  boolean isKnown(StepPacker.Pack pack) {
    return pack.rows().stream().allMatch(row -> byRow[row] != null);
  }

  /** Scores of a pack's rows, one after the other, both answers of each. */
  float[] of(StepPacker.Pack pack, int count) {
    float[] values = new float[count];
    int next = 0;
    for (int row : pack.rows()) {
      AnswerLogProbs scores = Objects.requireNonNull(byRow[row]);
      for (float[] answer : new float[][] {scores.chosen(), scores.rejected()}) {
        System.arraycopy(answer, 0, values, next, answer.length);
        next += answer.length;
      }
    }
    return values;
  }

  /**
   * Remembers what was scored of a pack, and stores it.
   *
   * @param values as {@link #of} gives them
   * @throws StoreException if it cannot be stored; it is remembered all the same
   */
  void put(StepPacker.Pack pack, float[] values) {
    Map<ReferenceKey, AnswerLogProbs> added = new HashMap<>();
    int next = 0;
    for (int row : pack.rows()) {
      PairTokens pair = pairs.get(row);
      int middle = next + predictions(pair, pair.chosen());
      int end = middle + predictions(pair, pair.rejected());
      if (byRow[row] == null) {
        AnswerLogProbs scores =
            new AnswerLogProbs(
                Arrays.copyOfRange(values, next, middle), Arrays.copyOfRange(values, middle, end));
        byRow[row] = scores;
        missing--;
        if (keys[row] != null) {
          added.put(keys[row], scores);
        }
      }
      next = end;
    }
    if (store != null && !added.isEmpty()) {
      store.put(added);
    }
  }

  /** Stores nothing from now on. */
  @Override
  public void close() {
    if (store != null) {
      store.close();
      store = null;
    }
  }
}
