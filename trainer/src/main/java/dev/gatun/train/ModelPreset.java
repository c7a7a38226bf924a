package dev.gatun.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.report.DidYouMean;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/**
 * Shapes with a name: for new models, and for plans and benchmarks of models that are not here. The
 * sizes are those in {@code config.json} of the published model of that name; {@code tiny} and
 * {@code 15m} are Gatun's own.
 */
public enum ModelPreset {
  TINY("tiny", new NewModel(Family.LLAMA, 64, 160, 2, 4, 2, null, 512, 10_000, false), 4096),
  SMALL_15M("15m", new NewModel(Family.LLAMA, 384, 1024, 8, 6, 2, null, 2048, 10_000, true), 8192),
  /** HuggingFaceTB/SmolLM2-135M. */
  SMOLLM2_135M(
      "smollm2-135m",
      new NewModel(Family.LLAMA, 576, 1536, 30, 9, 3, null, 8192, 100_000, true),
      49_152),
  /** Qwen/Qwen2.5-0.5B. */
  QWEN25_05B(
      "qwen2.5-0.5b",
      new NewModel(Family.QWEN2, 896, 4864, 24, 14, 2, null, 32_768, 1_000_000, true),
      151_936),
  /**
   * meta-llama/Llama-3.2-1B, but for the stretching of its rotary frequencies ({@code rope_type}
   * llama3), which changes neither sizes nor work.
   */
  LLAMA32_1B(
      "llama-3.2-1b",
      new NewModel(Family.LLAMA, 2048, 8192, 16, 32, 8, null, 131_072, 500_000, true),
      128_256),
  /** meta-llama/Llama-2-7b. */
  LLAMA2_7B(
      "llama-2-7b",
      new NewModel(Family.LLAMA, 4096, 11_008, 32, 32, 32, null, 4096, 10_000, false),
      32_000);

  private final String title;
  private final NewModel shape;
  private final int vocabSize;

  ModelPreset(String title, NewModel shape, int vocabSize) {
    this.title = title;
    this.shape = shape;
    this.vocabSize = vocabSize;
  }

  /**
   * The preset that users call {@code name}.
   *
   * @param option which asked for it, for the message
   * @throws ConfigException if there is none
   */
  public static ModelPreset of(String option, String name) {
    for (ModelPreset preset : values()) {
      if (preset.title.equals(name)) {
        return preset;
      }
    }
    throw new ConfigException(
        option,
        "got %s, expected one of %s%s"
            .formatted(name, String.join(", ", names()), DidYouMean.hint(name, names())));
  }

  /** What users call the presets, smallest first. */
  public static List<String> names() {
    return Arrays.stream(values()).map(preset -> preset.title).toList();
  }

  /** What users call it. */
  public String title() {
    return title;
  }

  /** Its sizes, but for the vocabulary. */
  public NewModel shape() {
    return shape;
  }

  public int vocabSize() {
    return vocabSize;
  }

  /** The text of {@code config.json}, without special tokens. */
  public ObjectNode json() {
    return shape.config(vocabSize, OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty());
  }

  /** The configuration of a model of this shape. */
  public ModelConfig config() {
    return ModelConfig.parse(json(), Path.of(title, "config.json"));
  }
}
