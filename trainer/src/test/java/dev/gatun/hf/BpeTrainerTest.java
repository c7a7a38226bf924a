package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.hf.BpeTrainer.Options;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class BpeTrainerTest {
  private static final Path RESOURCES = Path.of("src/test/resources/tokenizer");
  private static final Path CORPUS = RESOURCES.resolve("corpus.txt");

  private static Options options(int vocabSize, WordSplitting splitting) {
    return new Options(vocabSize, 2, splitting, "<s>", "</s>", "<pad>", List.of(), 512);
  }

  private static TrainedTokenizer trained(int vocabSize, WordSplitting splitting) {
    BpeTrainer trainer = new BpeTrainer(options(vocabSize, splitting));
    trainer.add(CORPUS);
    return trainer.train();
  }

  /** {@code tools/bpe_golden.py} wrote the expectation with Hugging Face's trainer. */
  @ParameterizedTest
  @EnumSource
  void mergesAndIdsAreThoseOfHuggingFace(WordSplitting splitting) throws IOException {
    JsonNode golden =
        Json.MAPPER.readTree(RESOURCES.resolve("bpe.json").toFile()).get(splitting.name());
    TrainedTokenizer tokenizer = trained(700, splitting);
    List<List<String>> merges = new ArrayList<>();
    golden
        .get("merges")
        .forEach(m -> merges.add(List.of(m.get(0).textValue(), m.get(1).textValue())));
    assertEquals(merges, tokenizer.merges());
    assertEquals(golden.get("vocab").size(), tokenizer.vocabSize());
    for (Map.Entry<String, JsonNode> entry : golden.get("vocab").properties()) {
      assertEquals(entry.getValue().intValue(), tokenizer.id(entry.getKey()), entry.getKey());
    }
  }

  @ParameterizedTest
  @EnumSource
  void theFilesOpenAndEveryTextSurvives(WordSplitting splitting, @TempDir Path folder)
      throws IOException {
    trained(600, splitting).write(folder);
    String corpus = Files.readString(CORPUS);
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertEquals(600, tokenizer.vocabSize());
      assertEquals(OptionalInt.of(0), tokenizer.bosTokenId());
      assertEquals(OptionalInt.of(1), tokenizer.eosTokenId());
      assertEquals(OptionalInt.of(2), tokenizer.padTokenId());
      int[] ids = tokenizer.encode(corpus, AddSpecialTokens.NO);
      assertEquals(splitting.normalize(corpus), tokenizer.decode(ids, SkipSpecialTokens.NO));
      assertTrue(ids.length < corpus.length() / 2, ids.length + " tokens");
      int[] withBos = tokenizer.encode("a</s>", AddSpecialTokens.YES);
      assertArrayEquals(new int[] {0, tokenizer.idOf("a").orElseThrow(), 1}, withBos);
      String unseen = "\u0000\u00ff\ud83d\udc69\u200d\ud83d\udd2c \u4e16\u754c";
      assertEquals(
          unseen,
          tokenizer.decode(tokenizer.encode(unseen, AddSpecialTokens.NO), SkipSpecialTokens.NO));
    }
  }

  @Test
  void withoutBosAndPadNothingIsAdded(@TempDir Path folder) throws IOException {
    BpeTrainer trainer =
        new BpeTrainer(
            new Options(
                300, 1, WordSplitting.GPT2, null, "<|endoftext|>", null, List.of("<|x|>"), 64));
    trainer.add("hello hello");
    trainer.train().write(folder);
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertEquals(OptionalInt.empty(), tokenizer.bosTokenId());
      assertEquals(OptionalInt.of(0), tokenizer.eosTokenId());
      assertEquals(OptionalInt.of(1), tokenizer.idOf("<|x|>"));
      assertArrayEquals(
          new int[] {tokenizer.idOf("hello").orElseThrow(), 1},
          tokenizer.encode("hello<|x|>", AddSpecialTokens.YES));
    }
  }

  @Test
  void theOrderOfTheTextsDoesNotMatter() throws IOException {
    List<String> lines = Files.readAllLines(CORPUS);
    BpeTrainer forwards = new BpeTrainer(options(500, WordSplitting.LLAMA3));
    BpeTrainer backwards = new BpeTrainer(options(500, WordSplitting.LLAMA3));
    lines.forEach(forwards::add);
    lines.reversed().forEach(backwards::add);
    Map<String, byte[]> expected = forwards.train().files();
    Map<String, byte[]> files = backwards.train().files();
    assertEquals(expected.keySet(), files.keySet());
    expected.forEach((name, bytes) -> assertArrayEquals(bytes, files.get(name), name));
  }

  @Test
  void aSmallCorpusGivesASmallerVocabulary() {
    BpeTrainer trainer = new BpeTrainer(options(10_000, WordSplitting.GPT2));
    trainer.add("abc abc");
    // "ab" and "abc" occur twice, " abc" once, which is below the minimum frequency of 2.
    assertEquals(3 + 256 + 2, trainer.train().vocabSize());
  }

  /** The naive algorithm, which recounts all pairs before every merge, as the oracle. */
  @Test
  void mergesAreThoseOfTheNaiveAlgorithm() {
    long seed = 20_261_121;
    Random random = new Random(seed);
    for (int round = 0; round < 50; round++) {
      BpeTrainer trainer = new BpeTrainer(options(280, WordSplitting.LLAMA3));
      Map<String, Integer> counts = new TreeMap<>();
      for (int i = 0; i < 60; i++) {
        String word =
            random
                .ints(random.nextInt(1, 9), 'a', 'd')
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
        trainer.add(word);
        counts.merge(word, 1, Integer::sum);
      }
      TrainedTokenizer tokenizer = trainer.train();
      assertEquals(
          naiveMerges(counts, tokenizer, tokenizer.merges().size()),
          tokenizer.merges(),
          "seed " + seed + ", round " + round);
    }
  }

  private static List<List<String>> naiveMerges(
      Map<String, Integer> counts, TrainedTokenizer ids, int numMerges) {
    Map<List<String>, Integer> words = new HashMap<>();
    counts.forEach((word, count) -> words.put(List.of(word.split("")), count));
    List<List<String>> merges = new ArrayList<>();
    while (merges.size() < numMerges) {
      Map<List<String>, Integer> pairs = new HashMap<>();
      words.forEach(
          (word, count) -> {
            for (int i = 0; i + 1 < word.size(); i++) {
              pairs.merge(List.of(word.get(i), word.get(i + 1)), count, Integer::sum);
            }
          });
      List<String> best =
          pairs.keySet().stream()
              .min(
                  Comparator.<List<String>, Integer>comparing(p -> -pairs.get(p))
                      .thenComparing(p -> ids.id(p.get(0)))
                      .thenComparing(p -> ids.id(p.get(1))))
              .orElseThrow();
      merges.add(best);
      Map<List<String>, Integer> merged = new HashMap<>();
      words.forEach(
          (word, count) -> {
            List<String> symbols = new ArrayList<>(word);
            for (int i = 0; i + 1 < symbols.size(); i++) {
              if (symbols.subList(i, i + 2).equals(best)) {
                symbols.set(i, symbols.get(i) + symbols.remove(i + 1));
              }
            }
            merged.merge(List.copyOf(symbols), count, Integer::sum);
          });
      words.clear();
      words.putAll(merged);
    }
    return merges;
  }

  @Test
  void impossibleOptionsAreNamed() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> options(258, WordSplitting.GPT2))
            .getMessage();
    assertTrue(message.startsWith("the vocabulary size is 258, expected from 259"), message);
  }

  @Test
  void aFileThatIsNotUtf8IsNamed(@TempDir Path folder) throws IOException {
    Path file =
        Files.write(folder.resolve("x.txt"), "caf\u00e9".getBytes(StandardCharsets.ISO_8859_1));
    BpeTrainer trainer = new BpeTrainer(options(300, WordSplitting.GPT2));
    FormatException e = assertThrows(FormatException.class, () -> trainer.add(file));
    assertEquals(file + ": is not valid UTF-8", e.getMessage());
  }
}
