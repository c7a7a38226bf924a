package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.model.Parameter;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.RandomWeights;
import dev.gatun.tensor.DType;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class NewModelTest {
  private static NewModel tiny(Family family) {
    int kvHeads = family == Family.GPT2 ? 4 : 2;
    return new NewModel(family, 64, 160, 2, 4, kvHeads, null, 512, 10_000, family == Family.GPT2);
  }

  private static ModelConfig config(NewModel model) {
    return ModelConfig.parse(
        model.config(300, OptionalInt.of(0), OptionalInt.of(1), OptionalInt.empty()),
        Path.of("config.json"));
  }

  @ParameterizedTest
  @EnumSource(Family.class)
  void everyFamilyHasAConfigurationThatReadsBack(Family family) {
    ModelConfig config = config(tiny(family));
    assertEquals(family, config.family());
    assertEquals(64, config.hiddenSize());
    assertEquals(160, config.intermediateSize());
    assertEquals(16, config.headDim());
    assertEquals(300, config.vocabSize());
    assertEquals(List.of(1), config.eosTokenIds());
  }

  @ParameterizedTest
  @EnumSource(
      value = Family.class,
      names = {"LLAMA", "GEMMA2", "GPT2"})
  void weightsAreDrawnAsTransformersDrawsThem(Family family) {
    ModelConfig config = config(tiny(family));
    ParameterLayout layout = ParameterLayout.of(config);
    try (Backend backend = Device.CPU.open(DeviceOptions.ofThreads(1)).backend();
        Parameters parameters = new Parameters(backend, "new", layout, DType.F32);
        Parameters again = new Parameters(backend, "again", layout, DType.F32)) {
      RandomWeights.fill(backend, parameters, config, 0.02, 7);
      RandomWeights.fill(backend, again, config, 0.02, 7);
      assertArrayEquals(backend.downloadF32(parameters.all()), backend.downloadF32(again.all()));
      for (Parameter parameter : layout.parameters()) {
        float[] values = backend.downloadF32(parameters.get(parameter.name()));
        if (parameter.shape().length > 1) {
          double expected =
              family == Family.GPT2 && parameter.name().endsWith("c_proj.weight") ? 0.01 : 0.02;
          // Of n >= 4096 normal values the deviation is within 5 / sqrt(2 n) = 5.6 % of the true
          // one in all but 6e-7 of cases.
          assertEquals(expected, deviation(values), expected * 0.06, parameter.name());
        } else {
          boolean norm = parameter.name().endsWith(".weight");
          float constant = norm && family != Family.GEMMA2 ? 1 : 0;
          for (float value : values) {
            assertEquals(constant, value, parameter.name());
          }
        }
      }
      RandomWeights.fill(backend, again, config, 0.02, 8);
      assertFalse(
          Arrays.equals(backend.downloadF32(parameters.all()), backend.downloadF32(again.all())));
    }
  }

  private static double deviation(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += (double) value * value;
    }
    return Math.sqrt(sum / values.length);
  }

  @Test
  void impossibleShapesAreNamed() {
    ConfigException heads =
        assertThrows(
            ConfigException.class,
            () -> new NewModel(Family.LLAMA, 64, 160, 2, 4, 3, null, 512, 10_000, false));
    assertEquals("num_key_value_heads", heads.option());
    ConfigException width =
        assertThrows(
            ConfigException.class,
            () -> new NewModel(Family.LLAMA, 65, 160, 2, 4, 2, null, 512, 10_000, false));
    assertEquals("hidden_size", width.option());
    ConfigException tied =
        assertThrows(
            ConfigException.class,
            () -> new NewModel(Family.GPT2, 64, 160, 2, 4, 4, null, 512, 10_000, false));
    assertEquals("tie_word_embeddings", tied.option());
  }

  @Test
  void aTokenizerIsTrainedOrCopied(@TempDir Path folder) throws Exception {
    Path text = Files.writeString(folder.resolve("text"), "the cat and the dog\n".repeat(20));
    Map<String, byte[]> trained = new NewTokenizer.Trained(List.of(text), 270).files(512);
    assertTrue(trained.containsKey("tokenizer.json"));
    for (var file : trained.entrySet()) {
      Files.write(folder.resolve(file.getKey()), file.getValue());
    }
    Files.writeString(folder.resolve("chat_template.jinja"), "x");
    Map<String, byte[]> copied = new NewTokenizer.Copied(folder).files(512);
    assertArrayEquals(trained.get("tokenizer.json"), copied.get("tokenizer.json"));
    assertEquals("x", new String(copied.get("chat_template.jinja"), StandardCharsets.UTF_8));
  }

  @Test
  void cudaIsRefusedAndNothingTakenInstead() {
    assertTrue(
        assertThrows(
                BackendUnavailableException.class,
                () -> Device.fromName("cuda:1").open(DeviceOptions.DEFAULT).backend().close())
            .getMessage()
            .startsWith("cuda:1: this machine shows 1 GPU"));
  }
}
