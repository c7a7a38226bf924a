package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.model.Flops;
import dev.gatun.model.PackedBatch;
import dev.gatun.model.ParameterLayout;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ModelPresetTest {
  /** Counts that the Hugging Face hub shows for the published weights. */
  @ParameterizedTest
  @CsvSource({
    "smollm2-135m, 134515008",
    "qwen2.5-0.5b, 494032768",
    "llama-3.2-1b, 1235814400",
    "llama-2-7b, 6738415616"
  })
  void hasAsManyParametersAsThePublishedModel(String name, long parameters) {
    ModelPreset preset = ModelPreset.of("like", name);
    assertEquals(parameters, ParameterLayout.of(preset.config()).parameterCount());
  }

  /**
   * The least that one pair takes, prompt of 256 tokens and answers of 192, worked out by hand: per
   * layer {@code 2 * weights} per row forward and twice that backward, the last layer's but for
   * keys and values on the 383 rows that predict; {@code 4 * heads * headDim} per visible key
   * forward, 2.5 times that backward; the head on 383 rows.
   */
  @ParameterizedTest
  @CsvSource({"qwen2.5-0.5b, 1.714e12", "llama-3.2-1b, 4.326e12", "llama-2-7b, 2.522e13"})
  void theWorkOfAPairIsWhatTheLossNeeds(String name, double flops) {
    PackedBatch pair =
        PackedBatch.of(
            List.of(new PackedBatch.Sequence(new int[256], List.of(new int[192], new int[192]))));
    double training = Flops.forward(ModelPreset.of("like", name).config(), pair).training();
    assertEquals(flops, training, 5e-4 * flops); // four digits
  }

  @Test
  void anUnknownNameIsAnErrorThatNamesANearOne() {
    ConfigException unknown =
        assertThrows(ConfigException.class, () -> ModelPreset.of("like", "qwen2-0.5b"));
    assertTrue(unknown.getMessage().contains("did you mean qwen2.5-0.5b?"), unknown.getMessage());
  }
}
