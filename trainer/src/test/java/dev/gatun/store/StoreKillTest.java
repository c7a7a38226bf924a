package dev.gatun.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Processes that are killed while they fill a store. {@code -Dgatun.test.kills=50} kills as often
 * as that.
 */
class StoreKillTest {
  private static final int KILLS = Integer.getInteger("gatun.test.kills", 8);
  private static final int ROWS = 100_000;

  @TempDir Path temp;

  /** Every row that a process said was put is there, whole; so is every other that is there. */
  @Test
  void aKillLosesNothingAndBreaksNothing() throws Exception {
    long seed = new Random().nextLong();
    System.out.println("StoreKillTest: seed " + seed);
    Random random = new Random(seed);
    int said = 0;
    int entries = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      Process filler = fill(0, ROWS);
      said = Math.max(said, killLater(filler, random.nextInt(400)));
      entries = check(ROWS, said);
    }
    assertTrue(entries < ROWS, "the fillers were too fast to be killed");
    // Another run finds what there is and does the rest, of a part that can be waited for.
    int rows = entries + 50;
    assertEquals(0, fill(0, rows).waitFor());
    assertEquals(rows, check(rows, rows));
    System.out.printf("StoreKillTest: %d kills, %d rows said, %d entries%n", KILLS, said, entries);
  }

  @Test
  void twoProcessesFillAtOnce() throws Exception {
    Process one = fill(0, 400);
    Process two = fill(200, 400);
    assertEquals(0, one.waitFor());
    assertEquals(0, two.waitFor());
    assertEquals(600, check(600, 600));
  }

  @Test
  void aKilledProcessHoldsNoOtherUp() throws Exception {
    Process other = fill(50_000, 300);
    killLater(fill(0, ROWS), 150);
    boolean ended = other.waitFor(1, TimeUnit.MINUTES);
    other.destroyForcibly();
    assertTrue(ended, "the other waits for the one that was killed");
    assertEquals(0, other.waitFor());
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      for (int row = 50_000; row < 50_300; row++) {
        assertRight(store, row);
      }
    }
  }

  private Process fill(int first, int count) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("-XX:TieredStopAtLevel=1");
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(StoreFiller.class.getName());
    command.addAll(List.of(temp.toString(), Integer.toString(first), Integer.toString(count)));
    return new ProcessBuilder(command)
        .redirectOutput(ProcessBuilder.Redirect.to(temp.resolve(first + ".out").toFile()))
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  /** Kills with SIGKILL some time after the store was opened; the last row that it said was put. */
  private int killLater(Process filler, int milliseconds) throws Exception {
    Path said = temp.resolve("0.out");
    while (filler.isAlive() && Files.size(said) == 0) {
      Thread.sleep(5);
    }
    Thread.sleep(milliseconds);
    assertTrue(filler.isAlive(), "the filler ended by itself");
    filler.destroyForcibly().waitFor();
    int last = 0;
    // What follows the last line break may be half a number.
    String text = Files.readString(said);
    for (String line : text.substring(0, text.lastIndexOf('\n') + 1).lines().toList()) {
      last = line.equals("open") ? last : Integer.parseInt(line);
    }
    return last;
  }

  /** Number of rows below {@code rows} that are there; those below {@code said} must be. */
  private int check(int rows, int said) {
    int entries = 0;
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      long size = store.size();
      for (int row = 0; row < rows && (row < said || entries < size); row++) {
        if (row < said || store.find(List.of(StoreFiller.key(row))).getFirst() != null) {
          assertRight(store, row);
          entries++;
        }
      }
      assertEquals(0, store.damaged());
      assertEquals(size, entries);
    }
    return entries;
  }

  private static void assertRight(ReferenceStore store, int row) {
    AnswerLogProbs found = store.find(List.of(StoreFiller.key(row))).getFirst();
    assertTrue(found != null, "row " + row + " is lost");
    AnswerLogProbs expected = StoreFiller.scores(row);
    assertArrayEquals(expected.chosen(), found.chosen(), "row " + row);
    assertArrayEquals(expected.rejected(), found.rejected(), "row " + row);
  }
}
