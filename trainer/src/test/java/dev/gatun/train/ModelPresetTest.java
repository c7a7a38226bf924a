package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.model.ParameterLayout;
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

  @Test
  void anUnknownNameIsAnErrorThatNamesANearOne() {
    ConfigException unknown =
        assertThrows(ConfigException.class, () -> ModelPreset.of("like", "qwen2-0.5b"));
    assertTrue(unknown.getMessage().contains("did you mean qwen2.5-0.5b?"), unknown.getMessage());
  }
}
