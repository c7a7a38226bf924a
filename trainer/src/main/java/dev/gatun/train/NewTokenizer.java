package dev.gatun.train;

import dev.gatun.hf.BpeTrainer;
import dev.gatun.hf.FormatException;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.WordSplitting;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Where the tokenizer of a new model comes from. */
public sealed interface NewTokenizer {
  /** Each file's name and bytes. */
  Map<String, byte[]> files(int maxLength);

  /** That of another model directory, with its generation settings. */
  record Copied(Path modelDirectory) implements NewTokenizer {
    @Override
    public Map<String, byte[]> files(int maxLength) {
      Map<String, byte[]> files = ModelDirectory.sideFiles(modelDirectory);
      if (!files.containsKey("tokenizer.json")) {
        throw new FormatException(
            modelDirectory, "has no tokenizer.json; name a model directory with a tokenizer");
      }
      return files;
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
