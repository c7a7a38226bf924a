package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.hf.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows, tokens, truncation and micro-batches against what TRL 1.13 recorded. */
final class TrlParityTest {
  private static final Path GOLDENS = Path.of("src/test/resources/goldens");
  private static final Path PAIRS = GOLDENS.resolve("data/parity.standard.jsonl");
  private static final PairOptions DEFAULT = PairOptions.ofLength(1024, TruncationMode.KEEP_START);
  private static final ObjectMapper JSON = new ObjectMapper();

  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama/sigmoid",
        "tiny-llama/precompute",
        "tiny-llama-rope3/sigmoid",
        "tiny-mistral/sigmoid",
        "tiny-qwen2/sigmoid",
        "tiny-qwen3/sigmoid",
        "tiny-gemma2/sigmoid",
        "tiny-gpt2/sigmoid"
      })
  void everyRowHasTrlsTokens(String run) throws IOException {
    PreferenceDataset dataset = load(Path.of(run).getName(0).toString(), DEFAULT);
    List<JsonNode> recorded = lines(GOLDENS.resolve(run).resolve("tokens.jsonl"));

    assertEquals(96, recorded.size());
    assertEquals(96, dataset.pairs().size());
    for (int i = 0; i < recorded.size(); i++) {
      assertTokens(recorded.get(i), dataset.pairs().get(i), "row " + (i + 1));
      assertEquals(i + 1, dataset.pairs().get(i).row());
    }
  }

  /** Awkward rows: merged boundaries, end-of-text there or not, empty texts, accents, emoji. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama",
        "tiny-llama-rope3",
        "tiny-mistral",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-gemma2",
        "tiny-gpt2"
      })
  void awkwardRowsHaveTrlsTokens(String model) throws IOException {
    int compared = 0;
    try (Tokenizer tokenizer = tokenizer(model)) {
      for (JsonNode golden : lines(GOLDENS.resolve(model).resolve("tokenization_edge.jsonl"))) {
        if (golden.get("kind").asText().startsWith("conversational")) {
          continue;
        }
        compared++;
        String name = golden.get("row").toString();
        int maxLength =
            golden.get("max_length").isNull()
                ? PairOptions.UNLIMITED
                : golden.get("max_length").asInt();
        PreferenceTokenizer trl =
            new PreferenceTokenizer(
                tokenizer,
                new PairOptions(
                    ImplicitPrompt.TRL, PromptBoundary.TRL, maxLength, TruncationMode.KEEP_START),
                1);
        Preference preference = preference(golden.get("row"), ImplicitPrompt.TRL);
        PreferenceTokenizer.Encoded encoded =
            trl.encode(List.of(preference), new long[] {1}).getFirst();

        // TRL warns once for each of chosen and rejected.
        assertEquals(golden.get("warnings").asInt() > 0, encoded.mergedBoundary(), name);
        if (golden.get("kept").asBoolean()) {
          assertTokens(golden, encoded.pair(), name); // the collator truncates, not these ids
          assertInstanceOf(PreferenceTokenizer.Kept.class, trl.fit(encoded.pair()), name);
        } else {
          assertEquals(
              new PreferenceTokenizer.Dropped(Finding.PROMPT_TOO_LONG), trl.fit(encoded.pair()));
        }
      }
    }
    assertEquals(23, compared);
  }

  /**
   * The default rule for implicit prompts leaves TRL's tokens where TRL's split is between words.
   */
  @Test
  void implicitPromptsByWordsDifferOnlyInsideWords() throws IOException {
    List<String> different = new ArrayList<>();
    for (JsonNode golden : lines(GOLDENS.resolve("tiny-llama/tokenization_edge.jsonl"))) {
      JsonNode row = golden.get("row");
      if (golden.get("kind").asText().equals("implicit")
          && !preference(row, ImplicitPrompt.WORDS).equals(preference(row, ImplicitPrompt.TRL))) {
        different.add(row.get("chosen").asText());
      }
    }
    assertEquals(List.of("Say yes now"), different);
  }

  /** Micro-batch by micro-batch: rows, answer lengths after truncation, tokens, padded width. */
  @ParameterizedTest
  @CsvSource({
    "accum2x2, 2, 2, 20, 1024",
    "accum3, 2, 3, 20, 1024",
    "bs5-epochs, 5, 1, 24, 1024",
    "accum-epochs, 5, 3, 16, 1024",
    "precompute, 4, 1, 20, 1024",
    "bs1, 1, 1, 20, 1024",
    "maxlen40, 4, 1, 20, 40"
  })
  void stepsHoldTrlsRows(String run, int microBatch, int accumulation, int steps, int maxLength)
      throws IOException {
    PreferenceDataset dataset =
        load("tiny-llama", PairOptions.ofLength(maxLength, TruncationMode.KEEP_START));
    List<PairTokens> pairs = dataset.pairs();
    int[] lengths = pairs.stream().mapToInt(PairTokens::length).toArray();
    TrainingSchedule schedule =
        TrainingSchedule.ofSteps(
            new SampleOrder(SamplingStrategy.SEQUENTIAL, 42, lengths, microBatch * accumulation),
            microBatch,
            accumulation,
            steps);
    Path folder = GOLDENS.resolve("tiny-llama").resolve(run);
    JsonNode recorded = JSON.readTree(folder.resolve("run.json").toFile());
    List<JsonNode> metrics = lines(folder.resolve("metrics.jsonl"));
    List<JsonNode> examples = lines(folder.resolve("examples.jsonl"));
    assertEquals(microBatch, recorded.at("/args/batch_size").asInt());
    assertEquals(accumulation, recorded.at("/args/grad_accum").asInt());
    assertEquals(maxLength, recorded.at("/args/max_length").asInt());

    int example = 0;
    for (int number = 1; number <= steps; number++) {
      TrainingSchedule.Step step = schedule.step(number);
      long stepTokens = 0;
      for (int[] rows : step.microBatches()) {
        JsonNode golden = examples.get(example++);
        String where = run + " example " + example;
        assertEquals(number, golden.get("step").asInt(), where);
        List<Integer> chosen = new ArrayList<>();
        List<Integer> rejected = new ArrayList<>();
        int tokens = 0;
        int width = 0;
        for (int row : rows) {
          PairTokens pair = pairs.get(row);
          chosen.add(pair.chosen().length);
          rejected.add(pair.rejected().length);
          tokens += pair.length() + pair.prompt().length;
          width = Math.max(width, pair.prompt().length + pair.chosen().length);
          width = Math.max(width, pair.prompt().length + pair.rejected().length);
        }
        assertEquals(ints(golden.get("chosen_len")), chosen, where);
        assertEquals(ints(golden.get("rejected_len")), rejected, where);
        assertEquals(golden.get("tokens").asInt(), tokens, where);
        assertEquals(ints(golden.get("padded_shape")), List.of(2 * rows.length, width), where);
        stepTokens += tokens;
      }
      assertEquals(recorded.get("step_tokens").get(number - 1).asLong(), stepTokens);
      assertEquals(metrics.get(number - 1).get("epoch").asDouble(), step.epochsDone(), 1e-12);
    }
    assertEquals(examples.size(), example);
  }

  /** Tokens and labels of SFT rows; TRL's label -100 is what is not imitated. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama",
        "tiny-llama-rope3",
        "tiny-mistral",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-gemma2",
        "tiny-gpt2"
      })
  void sftRowsHaveTrlsTokens(String model, @TempDir Path folder) throws IOException {
    Map<SftOptions, List<JsonNode>> runs = new LinkedHashMap<>();
    for (JsonNode golden : lines(GOLDENS.resolve(model).resolve("sft_tokens.jsonl"))) {
      int maxLength = golden.get("max_length").asInt(PairOptions.UNLIMITED);
      SftOptions options =
          new SftOptions(
              "text",
              golden.get("completion_only").asBoolean()
                  ? SftOptions.Target.COMPLETION_IF_PROMPTED
                  : SftOptions.Target.EVERYTHING,
              maxLength,
              TruncationMode.valueOf(golden.get("mode").asText().toUpperCase(Locale.ROOT)));
      runs.computeIfAbsent(options, _ -> new ArrayList<>()).add(golden);
    }
    assertEquals(8, runs.size());
    try (Tokenizer tokenizer = tokenizer(model)) {
      for (Map.Entry<SftOptions, List<JsonNode>> run : runs.entrySet()) {
        List<String> rows = run.getValue().stream().map(g -> g.get("row").toString()).toList();
        Path file = Files.write(folder.resolve("rows.jsonl"), rows);
        SftDataset dataset =
            SftDataset.load(List.of(file), tokenizer, run.getKey(), OnBadRow.ERROR, 1);
        int kept = 0;
        for (int row = 1; row <= rows.size(); row++) {
          JsonNode golden = run.getValue().get(row - 1);
          // TRL keeps a row of which only the first token is imitated, and nothing predicts that.
          if (golden.get("kept").asBoolean() && predictsSomething(golden.get("labels"))) {
            SftTokens tokens = dataset.texts().get(kept++);
            String name = run.getKey() + " " + golden.get("row");
            assertEquals(row, tokens.row(), name);
            List<Integer> ids = new ArrayList<>(boxed(tokens.prompt()));
            ids.addAll(boxed(tokens.completion()));
            assertEquals(ints(golden.get("input_ids")), ids, name);
            List<Integer> labels =
                new ArrayList<>(Collections.nCopies(tokens.prompt().length, -100));
            labels.addAll(boxed(tokens.completion()));
            assertEquals(ints(golden.get("labels")), labels, name);
          }
        }
        assertEquals(kept, dataset.texts().size());
      }
    }
  }

  private static boolean predictsSomething(JsonNode labels) {
    return ints(labels).stream().skip(1).anyMatch(label -> label != -100);
  }

  private static List<Integer> boxed(int[] ids) {
    return Arrays.stream(ids).boxed().toList();
  }

  private static void assertTokens(JsonNode golden, PairTokens pair, String name) {
    assertArrayEquals(array(golden.get("prompt_ids")), pair.prompt(), name);
    assertArrayEquals(array(golden.get("chosen_ids")), pair.chosen(), name);
    assertArrayEquals(array(golden.get("rejected_ids")), pair.rejected(), name);
  }

  private static Preference preference(JsonNode row, ImplicitPrompt rule) {
    List<JsonRow.Column> columns = new ArrayList<>();
    row.properties()
        .forEach(
            column ->
                columns.add(
                    new JsonRow.Column(
                        column.getKey(), JsonRow.Kind.TEXT, column.getValue().asText())));
    return Preference.of(new JsonRow(RowPlace.wholeFile(Path.of("golden")), columns), rule);
  }

  private static PreferenceDataset load(String model, PairOptions options) {
    try (Tokenizer tokenizer = tokenizer(model)) {
      return PreferenceDataset.load(List.of(PAIRS), tokenizer, options, OnBadRow.ERROR, 2);
    }
  }

  private static Tokenizer tokenizer(String model) {
    return Tokenizer.open(GOLDENS.resolve("models").resolve(model));
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    List<JsonNode> nodes = new ArrayList<>();
    try (Stream<String> lines = Files.lines(file)) {
      for (String line : (Iterable<String>) lines::iterator) {
        nodes.add(JSON.readTree(line));
      }
    }
    return nodes;
  }

  private static int[] array(JsonNode node) {
    return ints(node).stream().mapToInt(Integer::intValue).toArray();
  }

  private static List<Integer> ints(JsonNode node) {
    List<Integer> ints = new ArrayList<>();
    node.forEach(element -> ints.add(element.asInt()));
    return ints;
  }
}
