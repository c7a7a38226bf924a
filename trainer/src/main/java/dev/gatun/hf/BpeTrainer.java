package dev.gatun.hf;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.regex.Matcher;
import org.jspecify.annotations.Nullable;

/**
 * Learns a byte-level BPE vocabulary (Sennrich et al., arXiv 1508.07909): again and again, the most
 * frequent pair of neighbouring tokens becomes a token. Texts in, {@link TrainedTokenizer} out; the
 * same texts and options give the same tokenizer, and the merges are those of Hugging Face's {@code
 * BpeTrainer}, ties included.
 */
public final class BpeTrainer {
  /**
   * What to train.
   *
   * @param vocabSize tokens in all, at least the special tokens and the 256 bytes; fewer are
   *     learned if the texts have no more pairs to merge
   * @param minFrequency a pair must occur this often to become a token
   * @param bosToken begins every text, put there by the tokenizer; null if nothing does
   * @param eosToken ends every answer
   * @param padToken null if there is none
   * @param moreSpecialTokens further tokens that are never split
   * @param maxLength of a text, for tokenizer_config.json
   */
  public record Options(
      int vocabSize,
      int minFrequency,
      WordSplitting splitting,
      @Nullable String bosToken,
      String eosToken,
      @Nullable String padToken,
      List<String> moreSpecialTokens,
      int maxLength) {
    public Options {
      moreSpecialTokens = List.copyOf(moreSpecialTokens);
      List<String> special = specialTokens(bosToken, eosToken, padToken, moreSpecialTokens);
      if (special.contains("")) {
        throw new IllegalArgumentException("a special token is empty, expected a text");
      }
      if (vocabSize < special.size() + 256 || vocabSize > ModelConfig.MAX_SIZE) {
        throw new IllegalArgumentException(
            "the vocabulary size is "
                + vocabSize
                + ", expected from "
                + (special.size() + 256)
                + " ("
                + special.size()
                + " special tokens and 256 bytes) to "
                + ModelConfig.MAX_SIZE);
      }
      if (minFrequency < 1) {
        throw new IllegalArgumentException(
            "the minimum frequency is " + minFrequency + ", expected at least 1");
      }
      if (maxLength < 1) {
        throw new IllegalArgumentException(
            "the maximum length is " + maxLength + ", expected at least 1");
      }
    }

    /** In the order of their ids, which begin at 0. */
    List<String> specialTokens() {
      return specialTokens(bosToken, eosToken, padToken, moreSpecialTokens);
    }

    private static List<String> specialTokens(
        @Nullable String bos, String eos, @Nullable String pad, List<String> more) {
      List<String> tokens = new ArrayList<>();
      if (bos != null) {
        tokens.add(bos);
      }
      tokens.add(eos);
      if (pad != null) {
        tokens.add(pad);
      }
      tokens.addAll(more);
      return tokens.stream().distinct().toList();
    }
  }

  private final Options options;
  private final Map<String, Long> wordCounts = new HashMap<>();

  public BpeTrainer(Options options) {
    this.options = options;
  }

  /**
   * Counts the words of a text.
   *
   * @throws UnencodableTextException if it has a lone surrogate
   */
  public void add(String text) {
    NativeTokenizer.requireValidUnicode(text);
    Matcher words = options.splitting().pattern().matcher(options.splitting().normalize(text));
    while (words.find()) {
      wordCounts.merge(words.group(), 1L, Long::sum);
    }
  }

  /**
   * Counts the words of a UTF-8 text file, line by line; a line's end belongs to it.
   *
   * @throws FormatException if the file cannot be read or is not UTF-8
   */
  public void add(Path file) {
    String text;
    try {
      text =
          StandardCharsets.UTF_8
              .newDecoder()
              .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
              .toString();
    } catch (CharacterCodingException e) {
      throw new FormatException(file, "is not valid UTF-8", e);
    } catch (IOException e) {
      throw new FormatException(file, "cannot be read: " + e, e);
    }
    int begin = 0;
    while (begin < text.length()) {
      int newline = text.indexOf('\n', begin);
      int end = newline < 0 ? text.length() : newline + 1;
      add(text.substring(begin, end));
      begin = end;
    }
  }

  /** The tokenizer of all texts added so far. */
  public TrainedTokenizer train() {
    Map<String, Integer> ids = new LinkedHashMap<>();
    List<String> tokens = new ArrayList<>();
    for (String special : options.specialTokens()) {
      ids.put(special, tokens.size());
      tokens.add(special);
    }
    int[] byteIds = new int[256];
    byte[] bytesByCharacter = bytesByCharacter();
    for (byte b : bytesByCharacter) {
      String token = String.valueOf(ByteAlphabet.character(b & 0xff));
      Integer special = ids.putIfAbsent(token, tokens.size());
      byteIds[b & 0xff] = special == null ? tokens.size() : special;
      if (special == null) {
        tokens.add(token);
      }
    }
    List<Pair> merges = merge(words(byteIds), ids, tokens);
    return new TrainedTokenizer(
        options,
        ids,
        merges.stream().map(m -> List.of(tokens.get(m.left), tokens.get(m.right))).toList());
  }

  /** All bytes, in the order of the characters that stand for them. */
  private static byte[] bytesByCharacter() {
    byte[] bytes = new byte[256];
    int place = 0;
    for (char character = 0; place < 256; character++) {
      for (int b = 0; b < 256; b++) {
        if (ByteAlphabet.character(b) == character) {
          bytes[place++] = (byte) b;
        }
      }
    }
    return bytes;
  }

  private Word[] words(int[] byteIds) {
    return wordCounts.entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .map(
            entry -> {
              byte[] bytes = entry.getKey().getBytes(StandardCharsets.UTF_8);
              int[] symbols = new int[bytes.length];
              for (int i = 0; i < bytes.length; i++) {
                symbols[i] = byteIds[bytes[i] & 0xff];
              }
              return new Word(symbols, entry.getValue());
            })
        .toArray(Word[]::new);
  }

  /** Learns merges until the vocabulary is full; grows {@code ids} and {@code tokens}. */
  private List<Pair> merge(Word[] words, Map<String, Integer> ids, List<String> tokens) {
    Map<Pair, Long> counts = new HashMap<>();
    Map<Pair, WordNumbers> places = new HashMap<>();
    for (int i = 0; i < words.length; i++) {
      Word word = words[i];
      for (int j = 0; j + 1 < word.length; j++) {
        Pair pair = new Pair(word.symbols[j], word.symbols[j + 1]);
        counts.merge(pair, word.count, Long::sum);
        places.computeIfAbsent(pair, _ -> new WordNumbers()).add(i);
      }
    }
    PriorityQueue<Candidate> queue = new PriorityQueue<>();
    places.forEach(
        (pair, numbers) -> queue.add(new Candidate(pair, counts.getOrDefault(pair, 0L), numbers)));
    LinkedHashSet<Pair> merges = new LinkedHashSet<>();
    while (tokens.size() < options.vocabSize() && !queue.isEmpty()) {
      Candidate top = queue.poll();
      long count = counts.getOrDefault(top.pair, 0L);
      if (count != top.count) { // merges since then took some of its occurrences
        queue.add(new Candidate(top.pair, count, top.places));
        continue;
      }
      if (count < options.minFrequency()) {
        break;
      }
      String token = tokens.get(top.pair.left) + tokens.get(top.pair.right);
      Integer known = ids.putIfAbsent(token, tokens.size());
      int id = known == null ? tokens.size() : known;
      if (known == null) {
        tokens.add(token);
      }
      merges.remove(top.pair); // two ways to spell one token can bring a pair up twice
      merges.add(top.pair);
      Map<Pair, WordNumbers> grown = new HashMap<>();
      for (int i = 0; i < top.places.size; i++) {
        int number = top.places.numbers[i];
        words[number].merge(top.pair, id, number, counts, grown);
      }
      grown.forEach(
          (pair, numbers) -> {
            long pairCount = counts.getOrDefault(pair, 0L);
            if (pairCount > 0) {
              queue.add(new Candidate(pair, pairCount, numbers));
            }
          });
    }
    return List.copyOf(merges);
  }

  private record Pair(int left, int right) {}

  /** A pair that may be merged next: the most frequent first, of equals the one of lower ids. */
  private record Candidate(Pair pair, long count, WordNumbers places)
      implements Comparable<Candidate> {
    @Override
    public int compareTo(Candidate other) {
      int order = Long.compare(other.count, count);
      if (order == 0) {
        order = Integer.compare(pair.left, other.pair.left);
      }
      return order == 0 ? Integer.compare(pair.right, other.pair.right) : order;
    }
  }

  /** A set of words; each is added before any later one. */
  private static final class WordNumbers {
    private int[] numbers = new int[4];
    private int size;

    void add(int number) {
      if (size > 0 && numbers[size - 1] == number) {
        return;
      }
      if (size == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * size);
      }
      numbers[size++] = number;
    }
  }

  /** A distinct word of the texts, as tokens so far. */
  private static final class Word {
    private final int[] symbols;
    private final long count;
    private int length;

    Word(int[] symbols, long count) {
      this.symbols = symbols;
      this.count = count;
      this.length = symbols.length;
    }

    /**
     * Replaces the pair by {@code id}, from left to right, and keeps the counts of all pairs right;
     * {@code grown} gets this word's number for each pair that now occurs more often.
     */
    void merge(
        Pair pair, int id, int number, Map<Pair, Long> counts, Map<Pair, WordNumbers> grown) {
      for (int i = 0; i + 1 < length; i++) {
        if (symbols[i] != pair.left || symbols[i + 1] != pair.right) {
          continue;
        }
        if (i > 0) {
          counts.merge(new Pair(symbols[i - 1], pair.left), -count, Long::sum);
          grow(new Pair(symbols[i - 1], id), number, counts, grown);
        }
        symbols[i] = id;
        System.arraycopy(symbols, i + 2, symbols, i + 1, length - i - 2);
        length--;
        if (i + 1 < length) {
          counts.merge(new Pair(pair.right, symbols[i + 1]), -count, Long::sum);
          grow(new Pair(id, symbols[i + 1]), number, counts, grown);
        }
      }
    }

    private void grow(Pair pair, int number, Map<Pair, Long> counts, Map<Pair, WordNumbers> grown) {
      counts.merge(pair, count, Long::sum);
      grown.computeIfAbsent(pair, _ -> new WordNumbers()).add(number);
    }
  }
}
