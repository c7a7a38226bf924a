package dev.gatun.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.hf.FormatException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReferenceStoreTest {
  private static final AnswerLogProbs SCORES =
      new AnswerLogProbs(new float[] {-1.5f, -0f, Float.MIN_VALUE}, new float[] {-2.25f});

  @TempDir Path temp;

  private static ReferenceKey key(long number) {
    return new ReferenceKey(number, ~number);
  }

  @Test
  void whatIsPutIsFoundBitForBitAlsoLater() {
    Path folder = temp.resolve("a").resolve("store");
    try (ReferenceStore store = ReferenceStore.open(folder)) {
      assertNull(store.find(List.of(key(1))).getFirst());
      store.put(Map.of(key(1), SCORES, key(2), new AnswerLogProbs(new float[0], new float[0])));
      assertSame(SCORES, store.find(List.of(key(3), key(1))).get(1));
    }
    try (ReferenceStore store = ReferenceStore.open(folder)) {
      assertEquals(2, store.size());
      assertSame(SCORES, store.find(List.of(key(1))).getFirst());
      assertNotNull(store.find(List.of(key(2))).getFirst());
      assertEquals(0, store.damaged());
    }
  }

  @Test
  void aProcessOpensAFolderOnce() {
    try (ReferenceStore two = ReferenceStore.open(temp.resolve("."))) {
      try (ReferenceStore one = ReferenceStore.open(temp)) {
        one.put(Map.of(key(1), SCORES));
      }
      assertSame(SCORES, two.find(List.of(key(1))).getFirst());
      two.put(Map.of(key(2), SCORES));
    }
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      assertEquals(2, store.size());
    }
  }

  @Test
  void theMapGrowsWithoutALoss() throws IOException {
    Random random = new Random(7);
    try (Lmdb lmdb = Lmdb.open(temp, 1 << 16)) {
      for (int batch = 0; batch < 40; batch++) {
        List<Lmdb.Entry> entries = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
          entries.add(
              new Lmdb.Entry(key(random.nextLong()).bytes(), new byte[random.nextInt(6000)]));
        }
        lmdb.put(entries);
        List<byte[]> keys = entries.stream().map(Lmdb.Entry::key).toList();
        List<byte[]> found = lmdb.get(keys);
        for (int i = 0; i < entries.size(); i++) {
          assertArrayEquals(entries.get(i).value(), found.get(i));
        }
      }
      assertEquals(2000, lmdb.entries());
    }
    assertTrue(Files.size(temp.resolve("data.mdb")) > 1 << 22);
    try (Lmdb lmdb = Lmdb.open(temp, 1 << 16)) {
      assertEquals(2000, lmdb.entries());
    }
  }

  /** Every bit of a value, and a value under another's key. */
  @Test
  void aDamagedValueIsNoValue() {
    byte[] good = SCORES.encode(key(1));
    assertSame(SCORES, AnswerLogProbs.decode(key(1), good));
    assertNull(AnswerLogProbs.decode(key(2), good));
    for (int bit = 0; bit < 8 * good.length; bit++) {
      byte[] bad = good.clone();
      bad[bit / 8] ^= (byte) (1 << bit % 8);
      assertNull(AnswerLogProbs.decode(key(1), bad), "bit " + bit);
    }
    for (int length = 0; length < good.length; length++) {
      assertNull(AnswerLogProbs.decode(key(1), Arrays.copyOf(good, length)));
    }
    assertNull(AnswerLogProbs.decode(key(1), Arrays.copyOf(good, good.length + 1)));
  }

  @Test
  void aDamagedValueIsCountedAndReplaced() {
    try (ReferenceStore store = ReferenceStore.open(temp);
        Lmdb lmdb = Lmdb.open(temp)) {
      byte[] bad = SCORES.encode(key(1));
      bad[14] ^= 1;
      lmdb.put(List.of(new Lmdb.Entry(key(1).bytes(), bad)));
      assertNull(store.find(List.of(key(1))).getFirst());
      assertEquals(1, store.damaged());
      store.put(Map.of(key(1), SCORES));
      assertSame(SCORES, store.find(List.of(key(1))).getFirst());
    }
  }

  /** Bytes of the file itself, where the values lie. */
  @Test
  void aFlippedByteOnTheDiskIsSeen() throws IOException {
    float[] marked = {-123.456f, -654.321f};
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      store.put(Map.of(key(1), SCORES, key(2), new AnswerLogProbs(marked, marked)));
    }
    Path file = temp.resolve("data.mdb");
    byte[] bytes = Files.readAllBytes(file);
    ByteBuffer view = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int flipped = 0;
    for (int i = 0; i + 4 <= bytes.length; i++) {
      if (view.getFloat(i) == marked[0]) {
        bytes[i] ^= 1;
        flipped++;
      }
    }
    assertTrue(flipped > 0);
    Files.write(file, bytes);
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      assertNull(store.find(List.of(key(2))).getFirst());
      assertSame(SCORES, store.find(List.of(key(1))).getFirst());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 5})
  void aCutFileIsRefused(int pages) throws IOException {
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      for (int i = 0; i < 100; i++) {
        store.put(Map.of(key(i), new AnswerLogProbs(new float[500], new float[500])));
      }
    }
    Path file = temp.resolve("data.mdb");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(Files.size(file) - pages * 4096L);
    }
    FormatException refused =
        assertThrows(FormatException.class, () -> ReferenceStore.open(temp).close());
    assertTrue(
        String.valueOf(refused.getMessage()).contains("; delete " + temp), refused.getMessage());
  }

  @Test
  void anotherFileIsNoStore() throws IOException {
    byte[] noise = new byte[50_000];
    new Random(1).nextBytes(noise);
    Files.write(temp.resolve("data.mdb"), noise);
    FormatException refused =
        assertThrows(FormatException.class, () -> ReferenceStore.open(temp).close());
    assertTrue(String.valueOf(refused.getMessage()).contains("data.mdb"), refused.getMessage());
  }

  @Test
  void aFolderThatCannotBeMadeIsOneLineWithARemedy() throws IOException {
    Path file = Files.writeString(temp.resolve("file"), "");
    StoreException refused =
        assertThrows(
            StoreException.class, () -> ReferenceStore.open(file.resolve("store")).close());
    assertEquals(1, String.valueOf(refused.getMessage()).lines().count());
    assertTrue(String.valueOf(refused.getMessage()).contains("reference_store none"));
  }

  @Test
  void theMapIsAddressSpaceNotDisk() throws IOException {
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      store.put(Map.of(key(1), SCORES));
    }
    try (RandomAccessFile data = new RandomAccessFile(temp.resolve("data.mdb").toFile(), "r")) {
      assertTrue(data.length() < 1 << 17, "the file has " + data.length() + " bytes");
    }
  }

  @Test
  void everyFactAndEveryTokenHasItsKey() {
    int[] none = {};
    int[] one = {1};
    int[] two = {1, 2};
    List<ReferenceKeys.Ids> pairs =
        List.of(
            new ReferenceKeys.Ids(one, two, two),
            new ReferenceKeys.Ids(two, one, two),
            new ReferenceKeys.Ids(two, two, one),
            new ReferenceKeys.Ids(none, two, new int[] {1, 2, 1}),
            new ReferenceKeys.Ids(new int[] {1, 1, 2}, two, none),
            new ReferenceKeys.Ids(one, two, new int[] {1, 3}));
    List<List<String>> facts =
        List.of(List.of("a", "b"), List.of("ab"), List.of("", "ab"), List.of("b", "a"), List.of());
    Set<ReferenceKey> keys = new HashSet<>();
    int expected = 0;
    for (List<String> list : facts) {
      ReferenceKeys reference = ReferenceKeys.of(list);
      for (ReferenceKeys.Ids pair : pairs) {
        keys.add(reference.alone(pair));
        expected++;
      }
      ReferenceKeys.Pack pack = reference.pack(pairs);
      ReferenceKeys.Pack reversed = reference.pack(pairs.reversed());
      for (int i = 0; i < pairs.size(); i++) {
        keys.add(pack.key(i));
        keys.add(reversed.key(i));
        expected += 2;
      }
    }
    assertEquals(expected, keys.size());
    assertEquals(
        ReferenceKeys.of(List.of("a")).alone(pairs.getFirst()),
        ReferenceKeys.of(List.of("a")).alone(new ReferenceKeys.Ids(one, two, two.clone())));
    assertNotEquals(key(1), key(2));
  }

  @Test
  void threadsShareAStore() throws Exception {
    try (ReferenceStore store = ReferenceStore.open(temp)) {
      List<Thread> threads =
          IntStream.range(0, 4)
              .mapToObj(
                  t ->
                      Thread.ofPlatform()
                          .start(
                              () -> {
                                for (int i = 0; i < 25; i++) {
                                  store.put(Map.of(key(100L * t + i), SCORES));
                                  assertSame(
                                      SCORES, store.find(List.of(key(100L * t + i))).getFirst());
                                }
                              }))
              .toList();
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(100, store.size());
    }
  }

  private static void assertSame(AnswerLogProbs expected, AnswerLogProbs actual) {
    assertNotNull(actual);
    assertArrayEquals(bits(expected.chosen()), bits(actual.chosen()));
    assertArrayEquals(bits(expected.rejected()), bits(actual.rejected()));
  }

  private static int[] bits(float[] values) {
    return IntStream.range(0, values.length).map(i -> Float.floatToRawIntBits(values[i])).toArray();
  }
}
