package dev.gatun.data;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.hf.AddSpecialTokens;
import dev.gatun.hf.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole data sets: what is kept, dropped, truncated and told. */
final class DatasetTest {
  private static final Path MODELS = Path.of("src/test/resources/goldens/models");
  private static final PairOptions WHOLE =
      PairOptions.ofLength(PairOptions.UNLIMITED, TruncationMode.KEEP_START);
  private static Tokenizer tokenizer;

  @TempDir private Path folder;

  @BeforeAll
  static void open() {
    tokenizer = Tokenizer.open(MODELS.resolve("tiny-llama"));
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  @Test
  void countsWhatItFinds() throws IOException {
    PreferenceDataset dataset =
        load(
            WHOLE,
            OnBadRow.SKIP,
            """
            {"prompt":"p","chosen":" a","rejected":" b","score":1,"source":"x"}

            {"prompt":"p","chosen":" a","rejected":" b"}
            {"prompt":"p","chosen":" b","rejected":" a"}
            {"prompt":"p","chosen":" a","rejected":" a"}
            {"chosen":"one two","rejected":"one three"}
            {"prompt":"split here ","chosen":"now","rejected":"then"}
            {"prompt":"p","chosen":"","rejected":" b","model":"m"}
            {"prompt":"<|begin_of_text|>p","chosen":" c","rejected":" d"}
            {"prompt":"p","chosen":" a"}
            not json
            {"prompt":[],"chosen":[],"rejected":[]}
            """);

    DataReport report = dataset.report();
    assertEquals(11, report.count(Finding.ROWS_READ));
    assertEquals(8, report.count(Finding.ROWS_KEPT));
    assertEquals(8, dataset.pairs().size());
    assertEquals(3, report.count(Finding.BAD_ROW));
    assertEquals(1, report.count(Finding.DUPLICATE));
    assertEquals(1, report.count(Finding.CONTRADICTION));
    assertEquals(1, report.count(Finding.IDENTICAL_ANSWERS));
    assertEquals(1, report.count(Finding.IMPLICIT_PROMPT));
    assertEquals(1, report.count(Finding.MERGED_BOUNDARY));
    assertEquals(1, report.count(Finding.EMPTY_ANSWER));
    assertEquals(1, report.count(Finding.DOUBLE_BOS));
    assertEquals(0, report.count(Finding.TRUNCATED));
    assertEquals(Set.of("model", "score", "source"), report.ignoredColumns());
    assertEquals(3, report.badRows().size());
    assertEquals(
        List.of(10L, 11L, 12L),
        report.badRows().stream()
            .map(row -> Long.valueOf(row.replaceFirst(".*jsonl:(\\d+) .*", "$1")))
            .toList());
    assertEquals(
        List.of(1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L),
        dataset.pairs().stream().map(PairTokens::row).toList());
  }

  @Test
  void tellsWhatItFound() throws IOException {
    String[] rows = new String[4];
    Arrays.fill(rows, "{\"prompt\":\"p\",\"chosen\":\" a\",\"rejected\":\" b\",\"extra\":0}");
    DataReport report = load(WHOLE, OnBadRow.ERROR, String.join("\n", rows)).report();

    // Tokens of a row: begin-of-text and p; each answer two and end-of-text, or one and it.
    int prompt = 2;
    int[] chosen = tokenizer.encode(" a<|eot_id|>", AddSpecialTokens.NO);
    int[] rejected = tokenizer.encode(" b<|eot_id|>", AddSpecialTokens.NO);
    assertEquals(
        List.of(
            new DataReport.Lengths("prompt", prompt, prompt, prompt, 4L * prompt),
            new DataReport.Lengths(
                "chosen", chosen.length, chosen.length, chosen.length, 4L * chosen.length),
            new DataReport.Lengths(
                "rejected",
                rejected.length,
                rejected.length,
                rejected.length,
                4L * rejected.length)),
        report.lengths());
    List<String> lines = report.lines();
    assertEquals("           4  (1 file)  rows read", lines.get(0));
    assertEquals("           4  100.0%    rows kept", lines.get(1));
    assertEquals("           3  75.0%     repeats an earlier row", lines.get(2));
    assertTrue(lines.get(3).startsWith("           8            prompt tokens, "), lines.get(3));
    assertEquals("columns ignored: \"extra\"", lines.getLast());
    assertEquals(7, lines.size());
  }

  @Test
  void stopsAtTheFirstBadRow() throws IOException {
    BadRowException e =
        assertThrows(
            BadRowException.class,
            () ->
                load(
                    WHOLE,
                    OnBadRow.ERROR,
                    "{\"prompt\":\"p\",\"chosen\":\" a\",\"rejected\":\" b\"}\n{\"chosen\":3}\n"));
    assertEquals(
        folder.resolve("rows.jsonl")
            + ":2 (byte 45): \"chosen\" is a number, expected text; --on_bad_row skip leaves such"
            + " rows out",
        e.getMessage());
  }

  @Test
  void nothingToTrainOnIsAnError() throws IOException {
    refuses("holds no row", WHOLE, "");
    refuses("holds no row", WHOLE, " \n\n");
    refuses("holds no row", WHOLE, "[]");
    refuses("none of 1 rows is left to train on (1 dropped: cannot be used)", WHOLE, "{}");
    refuses(
        "none of 2 rows is left to train on (1 dropped: cannot be used; 1 dropped: the prompt alone"
            + " reaches max_length)",
        PairOptions.ofLength(2, TruncationMode.KEEP_START),
        "{}\n{\"prompt\":\"p\",\"chosen\":\" a\",\"rejected\":\" b\"}");
  }

  private void refuses(String message, PairOptions options, String text) {
    DataException e = assertThrows(DataException.class, () -> load(options, OnBadRow.SKIP, text));
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  /** Lengths of a pair's parts before; limit; and after: what Python's slices leave. */
  @Test
  void truncates() {
    checkTruncation(5, 4, 2, 7, TruncationMode.KEEP_START, 5, 2, 2);
    checkTruncation(5, 4, 2, 6, TruncationMode.KEEP_START, 5, 1, 1);
    checkTruncation(5, 4, 2, 9, TruncationMode.KEEP_START, 5, 4, 2);
    checkTruncation(5, 4, 2, 7, TruncationMode.KEEP_END, 3, 4, 2);
    checkTruncation(5, 4, 2, 9, TruncationMode.KEEP_END, 5, 4, 2);
    checkTruncation(5, 9, 2, 7, TruncationMode.KEEP_END, 0, 7, 2);
    checkTruncation(0, 3, 3, 2, TruncationMode.KEEP_START, 0, 2, 2);
  }

  private static void checkTruncation(
      int prompt, int chosen, int rejected, int limit, TruncationMode mode, int... expected) {
    int end = tokenizer.eosTokenId().getAsInt();
    PairTokens pair =
        new PairTokens(ids(100, prompt, 9), ids(200, chosen, end), ids(300, rejected, end), 1);
    PreferenceTokenizer.Kept kept =
        (PreferenceTokenizer.Kept)
            new PreferenceTokenizer(tokenizer, PairOptions.ofLength(limit, mode), 1).fit(pair);
    int[][] before = {pair.prompt(), pair.chosen(), pair.rejected()};
    int[][] after = {kept.pair().prompt(), kept.pair().chosen(), kept.pair().rejected()};
    boolean endLost = false;
    for (int part = 0; part < 3; part++) {
      int from = mode == TruncationMode.KEEP_END ? before[part].length - expected[part] : 0;
      assertArrayEquals(Arrays.copyOfRange(before[part], from, from + expected[part]), after[part]);
      endLost |= part > 0 && from == 0 && expected[part] < before[part].length;
    }
    assertEquals(endLost, kept.endOfTextLost());
    assertEquals(kept.pair().length() < pair.length(), kept.truncated());
  }

  private static int[] ids(int first, int count, int last) {
    int[] ids = new int[count];
    for (int i = 0; i < count; i++) {
      ids[i] = i == count - 1 ? last : first + i;
    }
    return ids;
  }

  @Test
  void dropsWhatNothingPredicts() {
    int end = tokenizer.eosTokenId().getAsInt();
    PreferenceTokenizer pairs = new PreferenceTokenizer(tokenizer, WHOLE, 1);
    PreferenceTokenizer.Fit dropped = new PreferenceTokenizer.Dropped(Finding.NOTHING_TO_PREDICT);
    int[] none = {};
    int[] one = {end};
    int[] two = {8, end};
    assertEquals(dropped, pairs.fit(new PairTokens(none, one, two, 1)));
    assertEquals(dropped, pairs.fit(new PairTokens(two, none, two, 1)));
    assertEquals(
        PreferenceTokenizer.Kept.class, pairs.fit(new PairTokens(none, two, two, 1)).getClass());
  }

  /** The exact boundary trains on the tokens of the text, whatever merges. */
  @Test
  void theExactBoundaryKeepsTheText() {
    PreferenceTokenizer exact =
        new PreferenceTokenizer(
            tokenizer,
            new PairOptions(
                ImplicitPrompt.WORDS,
                PromptBoundary.EXACT,
                PairOptions.UNLIMITED,
                TruncationMode.KEEP_START),
            1);
    PreferenceTokenizer trl = new PreferenceTokenizer(tokenizer, WHOLE, 1);
    Random random = new Random(5);
    int merged = 0;
    for (int i = 0; i < 500; i++) {
      Preference preference = new Preference(text(random), text(random), text(random));
      PreferenceTokenizer.Encoded encoded =
          exact.encode(List.of(preference), new long[] {1}).getFirst();
      String name = "seed 5, " + preference;
      int[] prompt = encoded.pair().prompt();
      for (boolean chosen : new boolean[] {true, false}) {
        int[] answer = chosen ? encoded.pair().chosen() : encoded.pair().rejected();
        String text = chosen ? preference.chosen() : preference.rejected();
        int[] both = Arrays.copyOf(prompt, prompt.length + answer.length);
        System.arraycopy(answer, 0, both, prompt.length, answer.length);
        assertArrayEquals(
            tokenizer.encode(preference.prompt() + text + "<|eot_id|>", AddSpecialTokens.YES),
            both,
            name);
      }
      if (encoded.mergedBoundary()) {
        merged++;
      } else {
        PairTokens same = trl.encode(List.of(preference), new long[] {1}).getFirst().pair();
        assertArrayEquals(same.prompt(), prompt, name);
        assertArrayEquals(same.chosen(), encoded.pair().chosen(), name);
      }
    }
    assertTrue(merged > 50, merged + " merged");
  }

  private static String text(Random random) {
    String[] pieces = {" ", "the", "so", "me", "text", "\n", " a", "é", "🙂", ".", "12"};
    StringBuilder text = new StringBuilder();
    for (int n = random.nextInt(8); n >= 0; n--) {
      text.append(pieces[random.nextInt(pieces.length)]);
    }
    return text.toString();
  }

  /** Rows come in file order with their numbers, across stretches and threads. */
  @Test
  void manyRowsStayInOrder() throws IOException {
    List<String> rows = new ArrayList<>();
    for (int i = 0; i < 2500; i++) {
      rows.add("{\"prompt\":\"%d\",\"chosen\":\" a\",\"rejected\":\" b\"}".formatted(i));
    }
    Path file = Files.write(folder.resolve("many.jsonl"), rows);
    PreferenceDataset two =
        PreferenceDataset.load(List.of(file), tokenizer, WHOLE, OnBadRow.ERROR, 2);
    for (int i = 0; i < rows.size(); i++) {
      assertEquals(i + 1, two.pairs().get(i).row());
      assertArrayEquals(
          tokenizer.encode(String.valueOf(i), AddSpecialTokens.YES), two.pairs().get(i).prompt());
    }
  }

  @Test
  void sftRefusesWhatHasNoText() throws IOException {
    refusesSft("\"messages\" (a conversation)", "{\"messages\":[]}");
    refusesSft("has no \"text\"", "{\"content\":\"x\"}");
    refusesSft("has no \"completion\"", "{\"prompt\":\"x\",\"text\":\"y\"}");
    refusesSft("has no \"prompt\"", "{\"completion\":\"x\"}");
    refusesSft("\"prompt\" is a list (a conversation)", "{\"prompt\":[],\"completion\":[]}");
    refusesSft("which --completion_only_loss needs", "{\"text\":\"x\"}");
  }

  private void refusesSft(String message, String row) throws IOException {
    Path file = Files.write(folder.resolve("sft.jsonl"), row.getBytes(ISO_8859_1));
    SftOptions options =
        new SftOptions(
            "text", SftOptions.Target.COMPLETION, PairOptions.UNLIMITED, TruncationMode.KEEP_START);
    BadRowException e =
        assertThrows(
            BadRowException.class,
            () -> SftDataset.load(List.of(file), tokenizer, options, OnBadRow.ERROR, 1));
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  private PreferenceDataset load(PairOptions options, OnBadRow onBadRow, String text)
      throws IOException {
    Path file = Files.writeString(folder.resolve("rows.jsonl"), text);
    return PreferenceDataset.load(List.of(file), tokenizer, options, onBadRow, 1);
  }
}
