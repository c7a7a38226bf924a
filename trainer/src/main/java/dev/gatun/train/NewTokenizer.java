package dev.gatun.train;

import dev.gatun.hf.BpeTrainer;
import dev.gatun.hf.FormatException;
import dev.gatun.hf.WordSplitting;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Where the tokenizer of a new model comes from. */
public sealed interface NewTokenizer {
  /** Each file's name and bytes. */
  Map<String, byte[]> files(int maxLength);

  /** That of another model directory, file by file. */
  record Copied(Path modelDirectory) implements NewTokenizer {
    private static final List<String> REQUIRED = List.of("tokenizer.json", "tokenizer_config.json");
    private static final List<String> OPTIONAL =
        List.of(
            "special_tokens_map.json",
            "added_tokens.json",
            "chat_template.jinja",
            "vocab.json",
            "merges.txt");

    @Override
    public Map<String, byte[]> files(int maxLength) {
      Map<String, byte[]> files = new LinkedHashMap<>();
      REQUIRED.forEach(name -> files.put(name, read(modelDirectory.resolve(name))));
      OPTIONAL.stream()
          .filter(name -> Files.exists(modelDirectory.resolve(name)))
          .forEach(name -> files.put(name, read(modelDirectory.resolve(name))));
      return files;
    }

    private static byte[] read(Path file) {
      try {
        return Files.readAllBytes(file);
      } catch (IOException e) {
        throw new FormatException(file, "cannot be read: " + e, e);
      }
    }
  }

  /**
   * One that is learned: byte-level BPE with the words of Llama 3, and one special token that
   * begins and one that ends a text.
   *
   * @param texts UTF-8 files
   * @param vocabSize tokens in all, the special ones included
   */
  record Trained(List<Path> texts, int vocabSize) implements NewTokenizer {
    /** The special tokens and one token for every byte. */
    private static final int SMALLEST = 2 + 256;

    public Trained {
      texts = List.copyOf(texts);
      Check.that("tokenizer_text", !texts.isEmpty(), "nothing", "one or more text files");
      Check.that("vocab_size", vocabSize >= SMALLEST, vocabSize, "at least " + SMALLEST);
    }

    @Override
    public Map<String, byte[]> files(int maxLength) {
      BpeTrainer trainer =
          new BpeTrainer(
              new BpeTrainer.Options(
                  vocabSize,
                  2,
                  WordSplitting.LLAMA3,
                  "<|begin_of_text|>",
                  "<|end_of_text|>",
                  null,
                  List.of(),
                  maxLength));
      texts.forEach(trainer::add);
      return trainer.train().files();
    }
  }
}
