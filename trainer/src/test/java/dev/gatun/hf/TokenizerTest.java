package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.memory.ReleasedException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  private static final Path RESOURCES = Path.of("src/test/resources");
  private static final Path MODELS = RESOURCES.resolve("goldens/models");

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
  void idsAndTextsAreThoseOfTransformers(String model) throws IOException {
    int rows = 0;
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve(model))) {
      for (String line : Files.readAllLines(RESOURCES.resolve("tokenizer/golden.jsonl"))) {
        JsonNode row = Json.MAPPER.readTree(line);
        if (!row.get("model").textValue().equals(model)) {
          continue;
        }
        rows++;
        String text = row.get("text").textValue();
        int[] ids = ints(row.get("ids"));
        assertArrayEquals(ids, tokenizer.encode(text, AddSpecialTokens.YES), line);
        assertArrayEquals(
            ints(row.get("ids_without_special")),
            tokenizer.encode(text, AddSpecialTokens.NO),
            line);
        assertEquals(
            row.get("decoded").textValue(), tokenizer.decode(ids, SkipSpecialTokens.NO), line);
        assertEquals(
            row.get("decoded_without_special").textValue(),
            tokenizer.decode(ids, SkipSpecialTokens.YES),
            line);
      }
    }
    assertEquals(18, rows);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-mistral", "tiny-qwen2", "tiny-gemma2", "tiny-gpt2"})
  void promptsOfTheGoldenRunsHaveTheRecordedIds(String model) throws IOException {
    List<String> rows = Files.readAllLines(RESOURCES.resolve("goldens/data/parity.standard.jsonl"));
    List<String> recorded =
        Files.readAllLines(RESOURCES.resolve("goldens/" + model + "/sigmoid/tokens.jsonl"));
    assertEquals(96, rows.size());
    assertEquals(96, recorded.size());
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve(model))) {
      for (int i = 0; i < rows.size(); i++) {
        String prompt = Json.MAPPER.readTree(rows.get(i)).get("prompt").textValue();
        assertArrayEquals(
            ints(Json.MAPPER.readTree(recorded.get(i)).get("prompt_ids")),
            tokenizer.encode(prompt, AddSpecialTokens.YES),
            prompt);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "tiny-llama,   512, 0,  4, 5",
    "tiny-mistral, 512, 1,  2, 0",
    "tiny-qwen2,   512, -1, 2, 0",
    "tiny-gemma2,  512, 2,  1, 0",
    "tiny-gpt2,    512, 0,  0, -1",
  })
  void specialTokensComeFromTheConfiguration(String model, int size, int bos, int eos, int pad) {
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve(model))) {
      assertEquals(size, tokenizer.vocabSize());
      assertEquals(bos, tokenizer.bosTokenId().orElse(-1));
      assertEquals(eos, tokenizer.eosTokenId().orElse(-1));
      assertEquals(pad, tokenizer.padTokenId().orElse(-1));
    }
  }

  @Test
  void specialTokensMapIsReadWhereTheConfigurationIsSilent(@TempDir Path folder)
      throws IOException {
    copyTokenizerJson(folder);
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"eos_token\": \"<|eot_id|>\"}");
    Files.writeString(
        folder.resolve("special_tokens_map.json"),
        "{\"eos_token\": \"<|pad|>\", \"bos_token\": {\"content\": \"<|begin_of_text|>\"}}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertEquals(OptionalInt.of(4), tokenizer.eosTokenId());
      assertEquals(OptionalInt.of(0), tokenizer.bosTokenId());
      assertEquals(OptionalInt.empty(), tokenizer.padTokenId());
      assertEquals(OptionalInt.of(5), tokenizer.idOf("<|pad|>"));
      assertEquals(OptionalInt.empty(), tokenizer.idOf("no such token"));
    }
  }

  /** {@code TokenizersBackend.update_post_processor} of transformers. */
  @ParameterizedTest
  @CsvSource({
    "'',                                             '0 '",
    "'\"add_bos_token\": false,',                    ''",
    "'\"add_bos_token\": true,',                     '0 '",
    "'\"add_eos_token\": true,',                     ' 4'",
    "'\"add_bos_token\": true, \"add_eos_token\": true,', '0  4'",
  })
  void addBosTokenAndAddEosTokenReplaceThePostProcessor(
      String flags, String around, @TempDir Path folder) throws IOException {
    copyTokenizerJson(folder);
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{" + flags + "\"bos_token\": \"<|begin_of_text|>\", \"eos_token\": \"<|eot_id|>\"}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      List<Integer> expected = new ArrayList<>();
      if (around.startsWith("0")) {
        expected.add(0);
      }
      IntStream.of(tokenizer.encode("plain", AddSpecialTokens.NO)).forEach(expected::add);
      if (around.endsWith("4")) {
        expected.add(4);
      }
      assertEquals(
          expected, IntStream.of(tokenizer.encode("plain", AddSpecialTokens.YES)).boxed().toList());
    }
  }

  @Test
  void aPostProcessorIsAddedToAFileWithoutOne(@TempDir Path folder) throws IOException {
    ObjectNode json = (ObjectNode) Json.MAPPER.readTree(tokenizerJson());
    json.remove("post_processor");
    Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"add_eos_token\": true, \"eos_token\": \"<|eot_id|>\"}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      int[] ids = tokenizer.encode("plain", AddSpecialTokens.YES);
      assertEquals(4, ids[ids.length - 1]);
    }
  }

  @Test
  void truncationAndPaddingOfTheFileAreOff(@TempDir Path folder) throws IOException {
    ObjectNode json = (ObjectNode) Json.MAPPER.readTree(tokenizerJson());
    json.putObject("truncation")
        .put("direction", "Right")
        .put("max_length", 4)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    ObjectNode padding = json.putObject("padding");
    padding.putObject("strategy").put("Fixed", 2000);
    padding.put("direction", "Right").putNull("pad_to_multiple_of");
    padding.put("pad_id", 5).put("pad_type_id", 0).put("pad_token", "<|pad|>");
    Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    String text = "word ".repeat(1000);
    try (Tokenizer plain = Tokenizer.open(MODELS.resolve("tiny-llama"));
        Tokenizer tokenizer = Tokenizer.open(folder)) {
      int[] ids = tokenizer.encode(text, AddSpecialTokens.NO);
      assertTrue(ids.length > 1000);
      assertArrayEquals(plain.encode(text, AddSpecialTokens.NO), ids);
      assertEquals(1, tokenizer.encode("", AddSpecialTokens.YES).length);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"\ud83d", "ok \ude00", "\ude00\ud83d", "a\ud83d\ud83d\ude00"})
  void loneSurrogatesAreRefused(String text) {
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve("tiny-llama"))) {
      UnencodableTextException e =
          assertThrows(
              UnencodableTextException.class, () -> tokenizer.encode(text, AddSpecialTokens.NO));
      assertTrue(Character.isSurrogate(text.charAt(e.index())));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 512, Integer.MAX_VALUE, Integer.MIN_VALUE})
  void idsOutsideOfTheVocabularyAreRefused(int id) {
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve("tiny-llama"))) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> tokenizer.decode(new int[] {1, id}, SkipSpecialTokens.NO))
              .getMessage();
      assertEquals("decode: id " + id + " at index 1, expected an id from 0 to 511", message);
    }
  }

  @Test
  void encodeAllGivesTheIdsOfEncodeInOrder() {
    List<String> texts =
        IntStream.range(0, 1000).mapToObj(i -> "text number " + i + " \u00e9\ud83d\ude00").toList();
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve("tiny-qwen2"))) {
      for (int numThreads : new int[] {1, 4}) {
        List<int[]> all = tokenizer.encodeAll(texts, AddSpecialTokens.NO, numThreads);
        assertEquals(1000, all.size());
        for (int i = 0; i < 1000; i++) {
          assertArrayEquals(tokenizer.encode(texts.get(i), AddSpecialTokens.NO), all.get(i));
        }
      }
      assertEquals(List.of(), tokenizer.encodeAll(List.of(), AddSpecialTokens.NO, 2));
    }
  }

  @Test
  void encodeAllThrowsTheFirstFailure() {
    List<String> texts = new ArrayList<>(IntStream.range(0, 200).mapToObj(i -> "t" + i).toList());
    texts.set(50, "abc\ud83d");
    texts.set(150, "\ud83d");
    try (Tokenizer tokenizer = Tokenizer.open(MODELS.resolve("tiny-qwen2"))) {
      UnencodableTextException e =
          assertThrows(
              UnencodableTextException.class,
              () -> tokenizer.encodeAll(texts, AddSpecialTokens.NO, 3));
      assertEquals(3, e.index());
    }
  }

  @Test
  void useAfterCloseSaysSo() {
    Tokenizer tokenizer = Tokenizer.open(MODELS.resolve("tiny-llama"));
    tokenizer.close();
    tokenizer.close();
    assertThrows(ReleasedException.class, () -> tokenizer.encode("x", AddSpecialTokens.NO));
    assertThrows(
        ReleasedException.class, () -> tokenizer.decode(new int[] {1}, SkipSpecialTokens.NO));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[]                                      | line 1, column 1: expected a JSON object",
        "{}                                      | has no tokens, expected model.vocab",
        "{\"model\": 3}                          | expected an object as model",
        "{\"model\": {\"vocab\": {\"a\": -1}}}   | expected an id from 0 to 16777215",
        "{\"model\": {\"vocab\": {\"a\": 1.5}}}  | expected an id from 0 to 16777215",
        "{\"model\": {\"vocab\": {\"a\": 0}}} x  | is not valid JSON at line 1",
        "{\"model\": {\"vocab\": {\"a\": 0}}}    | is not a tokenizer: ",
        "{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}}} | Duplicate field 'a'",
        "{\"added_tokens\": [{\"id\": 1}]}       | expected an added token with id and content",
        "{\"added_tokens\": [{\"id\": 0, \"content\": \"a\"}, {\"id\": 2, \"content\": \"b\"}]}"
            + " | added token \"b\" has the id 2, expected 1, the next one that is free",
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"a\"}], \"model\": {\"vocab\": {\"a\": 0}}}"
            + " | added token \"a\" has the id 1, expected 0, as in model.vocab",
      })
  void malformedTokenizersAreNamed(String text, String message, @TempDir Path folder)
      throws IOException {
    Path file = Files.writeString(folder.resolve("tokenizer.json"), text);
    FormatException e = assertThrows(FormatException.class, () -> Tokenizer.open(folder).close());
    assertEquals(file, e.file());
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertEquals(1, e.getMessage().lines().count());
  }

  /** Each of these would abort the process, or give other tokens each time. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "post_processor | {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\":"
            + " {\"id\": \"<s>\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {}}"
            + " | expected a special token that special_tokens defines",
        "post_processor | {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\":"
            + " {\"id\": \"B\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {}}"
            + " | expected a special token that special_tokens defines, or sequence A",
        "decoder | {\"type\": \"Strip\", \"content\": \" \", \"start\": 0, \"stop\": 9}"
            + " | expected a stop of 0",
        "normalizer | {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}]}"
            + " | normalizer is {\"type\":\"Lowercase\"}, expected a type of Sequence",
        "normalizer | {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}"
            + " | expected a pattern that is not empty",
        "model | {\"type\": \"Unigram\", \"vocab\": {\"a\": 0}} | model.type is \"Unigram\"",
        "model | {\"type\": \"BPE\", \"dropout\": 0.1, \"vocab\": {\"a\": 0}}"
            + " | model.dropout is 0.1, expected null",
        "model | {\"continuing_subword_prefix\": \"##\", \"vocab\": {\"a\": 0}}"
            + " | model.continuing_subword_prefix is \"##\", expected null",
      })
  void whatTheNativeTokenizerDoesNotSurviveIsRefusedBefore(
      String section, String value, String message, @TempDir Path folder) throws IOException {
    ObjectNode json = (ObjectNode) Json.MAPPER.readTree(tokenizerJson());
    json.set(section, Json.MAPPER.readTree(value));
    Path file = Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    FormatException e = assertThrows(FormatException.class, () -> Tokenizer.open(folder).close());
    assertEquals(file, e.file());
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  /** OpenAI's GPT-2 has such a file. */
  @Test
  void aModelWithoutATypeIsBpe(@TempDir Path folder) throws IOException {
    ObjectNode json = (ObjectNode) Json.MAPPER.readTree(tokenizerJson());
    ObjectNode model = (ObjectNode) json.get("model");
    model.remove("type");
    model.put("continuing_subword_prefix", "").put("end_of_word_suffix", "");
    Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    try (Tokenizer plain = Tokenizer.open(MODELS.resolve("tiny-llama"));
        Tokenizer tokenizer = Tokenizer.open(folder)) {
      String text = "Hello, world!";
      assertArrayEquals(
          plain.encode(text, AddSpecialTokens.YES), tokenizer.encode(text, AddSpecialTokens.YES));
    }
  }

  @Test
  void invalidUtf8IsRefused(@TempDir Path folder) throws IOException {
    byte[] bytes = tokenizerJson().getBytes(StandardCharsets.UTF_8);
    bytes[40] = (byte) 0xff;
    Path file = Files.write(folder.resolve("tokenizer.json"), bytes);
    String message =
        assertThrows(FormatException.class, () -> Tokenizer.open(folder).close()).getMessage();
    assertEquals(file + ": is not valid UTF-8", message);
  }

  @Test
  void aSpecialTokenThatIsNoTokenIsNamed(@TempDir Path folder) throws IOException {
    copyTokenizerJson(folder);
    Path file =
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"pad_token\": \"[PAD]\"}");
    FormatException e = assertThrows(FormatException.class, () -> Tokenizer.open(folder).close());
    assertEquals(
        file + ": pad_token is \"[PAD]\", expected a token of tokenizer.json", e.getMessage());
  }

  @Test
  void aMissingTokenizerSaysHowToGetOne(@TempDir Path folder) {
    FormatException e = assertThrows(FormatException.class, () -> Tokenizer.open(folder).close());
    assertTrue(e.getMessage().contains("tokenizer.json: does not exist"), e.getMessage());
  }

  private static String tokenizerJson() throws IOException {
    return Files.readString(MODELS.resolve("tiny-llama/tokenizer.json"));
  }

  private static void copyTokenizerJson(Path folder) throws IOException {
    Files.writeString(folder.resolve("tokenizer.json"), tokenizerJson());
  }

  private static int[] ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::intValue).toArray();
  }
}
