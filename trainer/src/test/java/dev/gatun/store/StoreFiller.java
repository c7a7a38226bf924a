package dev.gatun.store;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** A process that fills a store with rows whose scores follow from their numbers. */
final class StoreFiller {
  /** Rows put at once. */
  static final int BATCH = 7;

  private StoreFiller() {}

  static ReferenceKey key(int row) {
    return ReferenceKeys.of(List.of("filler"))
        .alone(new ReferenceKeys.Ids(new int[] {row}, new int[] {1}, new int[] {2}));
  }

  static AnswerLogProbs scores(int row) {
    Random random = new Random(row);
    float[][] answers = {new float[random.nextInt(900)], new float[random.nextInt(900)]};
    for (float[] answer : answers) {
      for (int i = 0; i < answer.length; i++) {
        answer[i] = -random.nextFloat();
      }
    }
    return new AnswerLogProbs(answers[0], answers[1]);
  }

  /** {@code FOLDER FIRST COUNT}: puts what is not there yet, and says how far it is. */
  public static void main(String[] args) {
    int first = Integer.parseInt(args[1]);
    int end = first + Integer.parseInt(args[2]);
    try (ReferenceStore store = ReferenceStore.open(Path.of(args[0]))) {
      System.out.println("open");
      for (int begin = first; begin < end; begin += BATCH) {
        Map<ReferenceKey, AnswerLogProbs> batch = new HashMap<>();
        for (int row = begin; row < Math.min(end, begin + BATCH); row++) {
          if (store.find(List.of(key(row))).getFirst() == null) {
            batch.put(key(row), scores(row));
          }
        }
        if (!batch.isEmpty()) {
          store.put(batch);
        }
        System.out.println(Math.min(end, begin + BATCH));
      }
    }
  }
}
