package dev.gatun.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

final class JsonRowsTest {
  @TempDir private Path folder;

  @Test
  void linesHaveColumnsAndPlaces() throws IOException {
    List<JsonRow> rows =
        read("\uFEFF{\"a\":\"é\",\"n\":1.5e3}\r\n\n \t\r\n  {\"b\":[1,{\"c\":null}],\"d\":true}");

    assertEquals(2, rows.size());
    assertEquals("é", rows.get(0).text("a"));
    assertEquals(1, rows.get(0).place().line());
    assertEquals(3, rows.get(0).place().byteOffset(), "behind the byte order mark");
    assertEquals(4, rows.get(1).place().line());
    // 3 mark + 20 object ("é" is 2 bytes) + \r\n + \n + " \t\r\n" + 2 blanks.
    assertEquals(3 + 20 + 2 + 1 + 4 + 2, rows.get(1).place().byteOffset());
    assertEquals(
        List.of(JsonRow.Kind.LIST, JsonRow.Kind.BOOLEAN),
        rows.get(1).columns().stream().map(JsonRow.Column::kind).toList());
  }

  @Test
  void anArrayIsReadWhateverTheFileIsCalled() throws IOException {
    List<JsonRow> rows = read("\uFEFF \n[{\"a\":\"x\"},\n {\"a\":\"y\"}]\n");

    assertEquals(List.of("x", "y"), rows.stream().map(row -> row.text("a")).toList());
    assertEquals(2, rows.get(0).place().line());
    assertEquals(6, rows.get(0).place().byteOffset());
    assertEquals(3, rows.get(1).place().line());
    assertEquals(18, rows.get(1).place().byteOffset());
  }

  @Test
  void escapesAreDecoded() throws IOException {
    JsonRow row = read("{\"a\":\"\\ud83d\\ude42\\n\\u0000\"}").getFirst();
    assertEquals("\ud83d\ude42\n\0", row.text("a"));
  }

  @Test
  void linesLongerThanTheBufferAreWhole() throws IOException {
    // Lengths around the first buffer (65536) and its doubling, so that lines straddle both.
    List<String> texts = new ArrayList<>();
    for (int length : new int[] {65_520, 1, 65_536, 131_071, 7, 300_000}) {
      texts.add("é".repeat(length));
    }
    List<JsonRow> rows = read(String.join("\n", texts.stream().map(JsonRowsTest::line).toList()));
    assertEquals(texts, rows.stream().map(row -> row.text("a")).toList());
    long offset = 0;
    for (int i = 0; i < texts.size(); i++) {
      assertEquals(offset, rows.get(i).place().byteOffset());
      assertEquals(i + 1, rows.get(i).place().line());
      offset += line(texts.get(i)).getBytes(UTF_8).length + 1;
    }
  }

  private static String line(String text) {
    return "{\"a\":\"" + text + "\"}";
  }

  @Test
  void severalFilesAreOneAfterTheOther() throws IOException {
    Path one = Files.writeString(folder.resolve("one"), "{\"a\":\"1\"}\n");
    Path none = Files.writeString(folder.resolve("none"), "\n");
    Path two = Files.writeString(folder.resolve("two"), "[{\"a\":\"2\"}]");
    try (JsonRows rows = JsonRows.open(List.of(one, none, two))) {
      assertEquals("1", text(rows.next()));
      assertEquals("2", text(rows.next()));
      assertNull(rows.next());
      assertNull(rows.next());
    }
  }

  private static String text(JsonRow row) {
    return row.text("a");
  }

  /** Text, line, byte, part of the message. Each line breaks one rule. */
  static Stream<Arguments> refused() {
    return Stream.of(
        arguments("{\"a\":\"1\"}\n{\"a\":", 2, 15, "the line ends inside of its JSON object"),
        arguments("{\"a\":\"1", 1, 7, "the line ends inside"),
        arguments("{\n\"a\":\"1\"}", 1, 1, "the line ends inside"),
        arguments("[{\"a\":" + "[".repeat(300), 1, 205, "nested deeper"),
        arguments("{\"a\":\"1\"} x", 1, 10, "not JSON"),
        arguments("{\"a\":\"1\"}{\"a\":\"1\"}", 1, 9, "more text behind the row's object"),
        arguments("{\"a\":\"1\",\"a\":\"2\"}", 1, 12, "appears twice in one object: 'a'"),
        arguments("{\"b\":{\"a\":1,\"a\":2}}", 1, 15, "appears twice"),
        arguments("{\"a\":\"1\",}", 1, 9, "not JSON"),
        arguments("{'a':1}", 1, 1, "not JSON"),
        arguments("{\"a\":NaN}", 1, 8, "not JSON: Non-standard token 'NaN'"),
        arguments("{\"a\":01}", 1, 6, "not JSON"),
        arguments("{\"a\":\"\\x\"}", 1, 7, "not JSON"),
        arguments("{\"a\":\"tab\there\"}", 1, 9, "not JSON"),
        arguments("// comment\n{}", 1, 0, "not JSON"),
        arguments("3", 1, 0, "the line holds a number, expected one JSON object per line"),
        arguments("\"text\"", 1, 0, "the line holds text"),
        arguments("{\"a\":" + "[".repeat(300) + "]".repeat(300) + "}", 1, 205, "nested deeper"),
        arguments("[{\"a\":\"1\"},\n7]", 2, 12, "the array holds a number, expected one object"),
        arguments("[{\"a\":\"1\"}", 1, 10, "cut short"),
        arguments("[{\"a\":\"1\"}] {}", 1, 12, "more text behind the array"),
        arguments("[{\"a\":\"1\"} {}]", 1, 11, "not JSON"),
        arguments("[{\"a\":\"1\",\"a\":\"1\"}]", 1, 13, "appears twice"));
  }

  @ParameterizedTest
  @MethodSource("refused")
  void refuses(String text, long line, long offset, String message) throws IOException {
    DataException e = assertThrows(DataException.class, () -> read(text));
    assertAll(
        () -> assertTrue(e.problem().contains(message), e.getMessage()),
        () -> assertEquals(line, e.line(), e.getMessage()),
        () -> assertTrue(Math.abs(offset - e.byteOffset()) <= 1, e.getMessage() + " not " + offset),
        () -> assertEquals(1, e.getMessage().lines().count()),
        () -> assertFalse(e.getMessage().contains("[Source"), e.getMessage()));
  }

  /** Bytes as Latin-1 text, offset of the first bad one. */
  static Stream<Arguments> malformed() {
    return Stream.of(
        arguments("{\"a\":\"\u00e9\"}", 6), // Latin-1
        arguments("{\"a\":\"\u00c0\u0080\"}", 6), // overlong NUL
        arguments("{\"a\":\"\u00e0\u0080\u00af\"}", 6), // overlong slash
        arguments("{\"a\":\"\u00ed\u00a0\u0080\"}", 6), // encoded surrogate
        arguments("{\"a\":\"\u00f4\u0090\u0080\u0080\"}", 6), // above U+10FFFF
        arguments("{\"a\":\"\u0080\"}", 6), // continuation alone
        arguments("{\"a\":\"x\u00f0\u009f\u0099", 7), // cut short
        arguments("{\"skipped\":[\"\u00ff\"]}", 13));
  }

  @ParameterizedTest
  @MethodSource("malformed")
  void refusesWhatIsNotUtf8(String latin1, long offset) throws IOException {
    byte[] row = latin1.getBytes(ISO_8859_1);
    for (String before : List.of("", "{\"a\":\"1\"}\n")) {
      DataException e =
          assertThrows(
              BadRowException.class, () -> readBytes(concatenate(before.getBytes(UTF_8), row)));
      assertEquals(before.length() + offset, e.byteOffset(), e.getMessage());
      assertEquals(before.isEmpty() ? 1 : 2, e.line());
      assertTrue(e.problem().contains("is not UTF-8"), e.getMessage());
    }
    DataException e =
        assertThrows(DataException.class, () -> readBytes(concatenate("[\n".getBytes(UTF_8), row)));
    assertEquals(2 + offset, e.byteOffset(), e.getMessage());
    assertEquals(2, e.line());
  }

  @Test
  void refusesUtf16() {
    byte[] text = "{\"a\":\"x\"}".getBytes(UTF_16LE);
    byte[] mark = {(byte) 0xFF, (byte) 0xFE};
    for (byte[] bytes : List.of(text, concatenate(mark, text))) {
      DataException e = assertThrows(DataException.class, () -> readBytes(bytes));
      assertTrue(e.getMessage().contains("is UTF-16, expected UTF-8"), e.getMessage());
    }
  }

  @Test
  void refusesAFileThatCannotBeRead() {
    Path absent = folder.resolve("absent.jsonl");
    DataException e = assertThrows(DataException.class, () -> read(List.of(absent)));
    assertEquals(absent + ": no such file", e.getMessage());
    assertThrows(DataException.class, () -> read(List.of(folder)));
  }

  @Test
  void aBadLineDoesNotHideTheRowsBehindIt() throws IOException {
    Path file =
        Files.write(
            folder.resolve("mixed"),
            "{\"a\":\"1\"}\nnot json\n\u00ff\n[1]\n{\"a\":\"2\"}\n{".getBytes(ISO_8859_1));
    List<String> seen = new ArrayList<>();
    try (JsonRows rows = JsonRows.open(List.of(file))) {
      for (int i = 0; i < 6; i++) {
        try {
          seen.add(text(rows.next()));
        } catch (BadRowException e) {
          seen.add("bad " + e.line());
        }
      }
      assertNull(rows.next());
    }
    assertEquals(List.of("1", "bad 2", "bad 3", "bad 4", "2", "bad 6"), seen);
  }

  @Test
  void aBadElementDoesNotHideTheRowsBehindIt() throws IOException {
    Path file =
        Files.writeString(folder.resolve("array"), "[null,{\"a\":\"1\"},[{}],{\"a\":\"2\"}]");
    try (JsonRows rows = JsonRows.open(List.of(file))) {
      assertThrows(BadRowException.class, rows::next);
      assertEquals("1", text(rows.next()));
      assertThrows(BadRowException.class, rows::next);
      assertEquals("2", text(rows.next()));
      assertNull(rows.next());
    }
  }

  /** Any damage to a valid file ends in rows or in a {@link DataException}, and it does end. */
  @Test
  void fuzz() {
    long seed = Long.getLong("gatun.seed", 20_261_121);
    Random random = new Random(seed);
    List<byte[]> originals =
        Stream.of(
                """
                {"prompt":"a é","chosen":" b\\ud83d\\ude42","rejected":" c"}
                {"chosen":"same x","rejected":"same y","n":[1,{"k":-2.5e7}]}
                """,
                """
                [{"prompt":"p","chosen":"c","rejected":"r"},
                 {"chosen":"same x","rejected":"same y","o":{"t":true}}]
                """)
            .map(text -> text.getBytes(UTF_8))
            .toList();
    Path file = Path.of("fuzz.jsonl");
    int whole = 0;
    int refused = 0;
    for (int i = 0; i < 25_000; i++) {
      byte[] bytes = mutate(originals.get(i % originals.size()), random);
      try (JsonRows rows = JsonRows.open(List.of(file), _ -> new ByteArrayInputStream(bytes))) {
        int calls = 0;
        boolean more = true;
        boolean clean = true;
        while (more) {
          assertTrue(++calls <= bytes.length + 1, "no progress, seed " + seed + " case " + i);
          try {
            JsonRow row = rows.next();
            more = row != null;
            if (row != null) {
              Preference.of(row, i % 4 < 2 ? ImplicitPrompt.WORDS : ImplicitPrompt.TRL);
            }
          } catch (BadRowException e) {
            clean = false;
            assertEquals(1, e.getMessage().lines().count(), e.getMessage());
          }
        }
        whole += clean ? 1 : 0;
        refused += clean ? 0 : 1;
      } catch (DataException e) {
        refused++;
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
      } catch (RuntimeException e) {
        throw new AssertionError("seed " + seed + " case " + i, e);
      }
    }
    assertTrue(whole > 1000 && refused > 10_000, "%d whole, %d refused".formatted(whole, refused));
  }

  private static byte[] mutate(byte[] original, Random random) {
    byte[] bytes = original.clone();
    for (int n = 1 + random.nextInt(3); n > 0 && bytes.length > 0; n--) {
      int at = random.nextInt(bytes.length);
      switch (random.nextInt(5)) {
        case 0 -> bytes[at] = (byte) random.nextInt(256);
        case 1 -> bytes[at] = (byte) "{}[]\",:\\\n u0".charAt(random.nextInt(12));
        case 2 -> bytes = Arrays.copyOf(bytes, at);
        case 3 -> {
          int from = random.nextInt(at + 1);
          bytes =
              concatenate(Arrays.copyOf(bytes, from), Arrays.copyOfRange(bytes, at, bytes.length));
        }
        default -> {
          int from = random.nextInt(at + 1);
          bytes =
              concatenate(Arrays.copyOf(bytes, at), Arrays.copyOfRange(bytes, from, bytes.length));
        }
      }
    }
    return bytes;
  }

  private List<JsonRow> read(String text) throws IOException {
    return readBytes(text.getBytes(UTF_8));
  }

  private List<JsonRow> readBytes(byte[] bytes) throws IOException {
    return read(List.of(Files.write(folder.resolve("rows.jsonl"), bytes)));
  }

  private static List<JsonRow> read(List<Path> files) {
    List<JsonRow> all = new ArrayList<>();
    try (JsonRows rows = JsonRows.open(files)) {
      for (JsonRow row = rows.next(); row != null; row = rows.next()) {
        all.add(row);
      }
    }
    return all;
  }

  private static byte[] concatenate(byte[] a, byte[] b) {
    byte[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
