package dev.gatun.hf;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * Text to token ids and back, as the {@code tokenizer.json} of a model directory says. Never
 * truncates, never pads. Safe for use by several threads.
 */
public interface Tokenizer extends AutoCloseable {
  /**
   * The tokenizer of a model directory: {@code tokenizer.json}, and the names of the special tokens
   * in {@code tokenizer_config.json} or {@code special_tokens_map.json}.
   *
   * @throws FormatException if a file is missing or malformed
   * @throws TokenizerLibraryException if the native library cannot be loaded
   */
  static Tokenizer open(Path modelDirectory) {
    return NativeTokenizer.open(modelDirectory);
  }

  /**
   * The tokenizer of a model directory that is not written yet.
   *
   * @param files each file's name and bytes, {@code tokenizer.json} among them
   * @throws FormatException if one is malformed
   * @throws TokenizerLibraryException if the native library cannot be loaded
   */
  static Tokenizer of(Map<String, byte[]> files) {
    return NativeTokenizer.of(files);
  }

  /**
   * The file of the native library, for diagnosis; loads it.
   *
   * @throws TokenizerLibraryException if it cannot be loaded
   */
  static Path libraryFile() {
    return TokenizerLibrary.file();
  }

  /**
   * The ids of {@code text}, each in {@code [0, vocabSize)}. Special tokens written in the text are
   * recognised as such.
   *
   * @throws UnencodableTextException if the text has a lone surrogate
   */
  int[] encode(String text, AddSpecialTokens addSpecialTokens);

  /** {@link #encode} of each text, in order, by {@code numThreads} threads. */
  List<int[]> encodeAll(List<String> texts, AddSpecialTokens addSpecialTokens, int numThreads);

  /**
   * The text of {@code ids}. Bytes that are not valid UTF-8, as a character cut in half leaves
   * them, become U+FFFD.
   *
   * @throws IllegalArgumentException if an id is not in {@code [0, vocabSize)}
   */
  String decode(int[] ids, SkipSpecialTokens skipSpecialTokens);

  /** One more than the largest id. A model may have more rows, never less. */
  int vocabSize();

  /** The id of the token that is written {@code token} in tokenizer.json. */
  OptionalInt idOf(String token);

  /** The token that begins a text, if the tokenizer's configuration names one. */
  OptionalInt bosTokenId();

  /** The token that ends a text, if the tokenizer's configuration names one. */
  OptionalInt eosTokenId();

  /** The token that pads a batch, if the tokenizer's configuration names one. */
  OptionalInt padTokenId();

  /** Releases the native tokenizer; a second call does nothing. */
  @Override
  void close();
}
