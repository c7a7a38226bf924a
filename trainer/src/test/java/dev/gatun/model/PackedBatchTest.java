package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.model.PackedBatch.Sequence;
import java.util.List;
import org.junit.jupiter.api.Test;

class PackedBatchTest {
  private static int[] ids(int... ids) {
    return ids;
  }

  @Test
  void aPairSharesItsPrompt() {
    PackedBatch batch =
        PackedBatch.of(List.of(new Sequence(ids(1, 2, 3), List.of(ids(10, 11), ids(20, 21, 22)))));
    assertArrayEquals(ids(1, 2, 3, 10, 11, 20, 21, 22), batch.tokenIds());
    assertArrayEquals(ids(0, 1, 2, 3, 4, 3, 4, 5), batch.positions());
    // keys: prompt, chosen, prompt copy, rejected
    assertArrayEquals(ids(0, 1, 2, 3, 4, 8, 9, 10), batch.keyRows());
    assertArrayEquals(ids(5, 6, 7, -1, -1, -1, -1, -1), batch.keyCopyRows());
    assertEquals(11, batch.numKeyRows());
    assertArrayEquals(ids(0, 5, 0, 5, 5, 3, 5, 6), batch.segments());
    assertArrayEquals(ids(2, 3, 0, 5, 5, 3, 5, 6), batch.lastSegments());
    // the last prompt row predicts both first tokens; last answer rows predict nothing
    assertArrayEquals(ids(2, 3, 5, 6), batch.rows());
    assertArrayEquals(ids(0, 2, 3, 4, 5), batch.predictionBegin());
    assertArrayEquals(ids(10, 20, 11, 21, 22), batch.targets());
    assertArrayEquals(ids(0, 2, 5), batch.answerBegin());
    assertArrayEquals(ids(0, 2, 1, 3, 4), batch.byAnswer());
    assertArrayEquals(ids(0, 2, 1, 3, 4), batch.byRow());
    assertArrayEquals(ids(0, 1, 0, 2, 3), batch.rowByAnswer());
    assertArrayEquals(ids(0, 4), batch.sequenceRows());
  }

  @Test
  void withoutPromptAnAnswersFirstTokenIsContext() {
    PackedBatch batch =
        PackedBatch.of(List.of(new Sequence(ids(), List.of(ids(10, 11, 12), ids(20)))));
    assertArrayEquals(ids(0, 1, 2, 0), batch.positions());
    assertArrayEquals(ids(0, 3, 0, 3, 3, 1, 3, 1), batch.segments());
    assertArrayEquals(batch.segments(), batch.lastSegments());
    assertArrayEquals(ids(0, 1), batch.rows());
    assertArrayEquals(ids(11, 12), batch.targets());
    assertArrayEquals(ids(0, 2, 2), batch.answerBegin());
  }

  @Test
  void anEmptyAnswerTakesNoSegmentAndNoCopy() {
    PackedBatch batch = PackedBatch.of(List.of(new Sequence(ids(1, 2), List.of(ids(10), ids()))));
    assertArrayEquals(ids(0, 3, 0, 3), batch.segments());
    assertArrayEquals(ids(1, 2, 0, 3), batch.lastSegments());
    assertArrayEquals(ids(-1, -1, -1), batch.keyCopyRows());
    assertEquals(3, batch.numKeyRows());
    assertArrayEquals(ids(1), batch.rows());
    assertArrayEquals(ids(10), batch.targets());
  }

  @Test
  void sequencesFollowEachOther() {
    Sequence sequence = new Sequence(ids(1), List.of(ids(10), ids(20)));
    PackedBatch batch = PackedBatch.of(List.of(sequence, sequence));
    assertArrayEquals(ids(0, 2, 0, 2, 2, 1, 2, 2, 3, 2, 4, 2, 5, 1, 6, 2), batch.segments());
    assertArrayEquals(ids(0, 3), batch.rows());
    assertArrayEquals(ids(0, 1, 2, 3, 4), batch.answerBegin());
    assertEquals(2, batch.predictionsOf(1));
  }

  @Test
  void refusesWhatItCannotPack() {
    assertThrows(IllegalArgumentException.class, () -> PackedBatch.of(List.of()));
    Sequence three = new Sequence(ids(1), List.of(ids(2), ids(3), ids(4)));
    assertThrows(IllegalArgumentException.class, () -> PackedBatch.of(List.of(three)));
    Sequence nothing = new Sequence(ids(), List.of(ids(), ids()));
    assertThrows(IllegalArgumentException.class, () -> PackedBatch.of(List.of(nothing)));
  }
}
