package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.hf.ModelConfig.Activation;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.tensor.DType;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelConfigTest {
  private static final Path FILE = Path.of("config.json");
  private static final Path MODELS = Path.of("src/test/resources/goldens/models");

  private static final String LLAMA =
      """
      {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100,
       "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
       "num_attention_heads": 4}
      """;

  @ParameterizedTest
  @CsvSource({
    "tiny-llama,     LLAMA,   F32,  16, 10000,   false, SILU",
    "tiny-llama-bf16,LLAMA,   BF16, 16, 10000,   false, SILU",
    "tiny-mistral,   MISTRAL, F32,  16, 10000,   false, SILU",
    "tiny-qwen2,     QWEN2,   F32,  16, 1000000, true,  SILU",
    "tiny-qwen3,     QWEN3,   F32,  32, 1000000, true,  SILU",
    "tiny-gemma2,    GEMMA2,  F32,  32, 10000,   true,  GELU_TANH",
  })
  void readsTheGoldenModels(
      String name,
      Family family,
      DType dtype,
      int headDim,
      double theta,
      boolean tied,
      Activation activation) {
    ModelConfig config = ModelConfig.read(MODELS.resolve(name).resolve("config.json"));
    assertEquals(family, config.family());
    assertEquals(dtype, config.dtype());
    assertEquals(512, config.vocabSize());
    assertEquals(64, config.hiddenSize());
    assertEquals(160, config.intermediateSize());
    assertEquals(2, config.numLayers());
    assertEquals(4, config.numHeads());
    assertEquals(2, config.numKeyValueHeads());
    assertEquals(headDim, config.headDim());
    assertEquals(512, config.maxPositions());
    assertEquals(new RopeConfig(theta, new RopeConfig.Unscaled()), config.rope());
    assertEquals(tied, config.tieWordEmbeddings());
    assertEquals(activation, config.activation());
    assertEquals(family == Family.QWEN2, config.attentionBias());
    assertEquals(family == Family.QWEN3, config.qkNorm());
    assertEquals(List.of(), config.notes());
  }

  @Test
  void gemma2HasWindowsOnEvenLayersAndSoftcaps() {
    ModelConfig config = ModelConfig.read(MODELS.resolve("tiny-gemma2/config.json"));
    assertEquals(List.of(24, 0), config.slidingWindows());
    assertEquals(2, config.attentionLogitSoftcap());
    assertEquals(6, config.finalLogitSoftcap());
    assertEquals((float) (1 / Math.sqrt(32)), config.attentionScale());
    assertEquals(1, config.normWeightOffset());
    assertEquals(8, config.embeddingScale(DType.F32));
    assertEquals(OptionalInt.of(2), config.bosTokenId());
    assertEquals(List.of(1), config.eosTokenIds());
    assertEquals(OptionalInt.of(0), config.padTokenId());
  }

  @Test
  void gpt2HasItsOwnNamesAndDropoutIsNoted() {
    ModelConfig config = ModelConfig.read(MODELS.resolve("tiny-gpt2/config.json"));
    assertEquals(Family.GPT2, config.family());
    assertNull(config.rope());
    assertEquals(256, config.intermediateSize());
    assertEquals(4, config.numKeyValueHeads());
    assertEquals(512, config.maxPositions());
    assertEquals(1e-5f, config.normEps());
    assertTrue(config.attentionBias() && config.attentionOutputBias() && config.mlpBias());
    assertEquals(Activation.GELU_TANH, config.activation());
    assertEquals(
        List.of(
            "attn_pdrop is 0.1: dropout is off, as in TRL",
            "embd_pdrop is 0.1: dropout is off, as in TRL",
            "resid_pdrop is 0.1: dropout is off, as in TRL"),
        config.notes());
  }

  @Test
  void llama3RopeIsRead() {
    ModelConfig config = ModelConfig.read(MODELS.resolve("tiny-llama-rope3/config.json"));
    assertEquals(new RopeConfig(500_000, new RopeConfig.Llama3(8, 1, 4, 64)), config.rope());
  }

  @Test
  void absentKeysTakeTheDefaultsOfTransformers() {
    ModelConfig config = parse(LLAMA);
    assertEquals(4, config.numKeyValueHeads());
    assertEquals(16, config.headDim());
    assertEquals(2048, config.maxPositions());
    assertEquals(1e-6f, config.normEps());
    assertEquals(new RopeConfig(10_000, new RopeConfig.Unscaled()), config.rope());
    assertEquals(Collections.nCopies(3, 0), config.slidingWindows());
    assertEquals(0.25f, config.attentionScale());
    assertNull(config.dtype());
    assertEquals(OptionalInt.empty(), config.bosTokenId());
    assertEquals(List.of(), config.eosTokenIds());
    assertEquals(1, config.embeddingScale(DType.BF16));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'rope_theta': 5e5} | {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}}",
        "{'rope_theta': 5e5, 'rope_scaling': {'type': 'linear', 'factor': 2}} |"
            + " {'rope_parameters': {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 500000}}",
        "{'rope_scaling': {'type': 'dynamic', 'factor': 2}} |"
            + " {'rope_parameters': {'rope_type': 'dynamic', 'factor': 2, 'rope_theta': 1e4}}",
        "{'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1,"
            + " 'high_freq_factor': 4, 'original_max_position_embeddings': 2048}} |"
            + " {'rope_parameters': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1,"
            + " 'high_freq_factor': 4, 'rope_theta': 1e4}}",
        "{'rope_scaling': {'type': 'yarn', 'factor': 4}} |"
            + " {'rope_parameters': {'rope_type': 'yarn', 'factor': 4, 'beta_fast': 32,"
            + " 'beta_slow': 1, 'attention_factor': 1.1386294361119891, 'truncate': true}}",
        "{'torch_dtype': 'bfloat16'} | {'dtype': 'bfloat16'}",
        "{'eos_token_id': 7} | {'eos_token_id': [7]}",
        "{'pad_token_id': -1, 'head_dim': null} | {'pad_token_id': null, 'head_dim': 16}",
      })
  void oldAndNewNamesMeanTheSame(String old, String current) {
    assertEquals(llamaWith(old), llamaWith(current));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'use_sliding_window': false, 'sliding_window': 9}                         | 0 0 0",
        "{'use_sliding_window': true, 'sliding_window': 9, 'max_window_layers': 1}  | 0 9 9",
        "{'use_sliding_window': true, 'sliding_window': 9}                          | 0 0 0",
        "{'use_sliding_window': true, 'sliding_window': 9, 'layer_types':"
            + " ['sliding_attention', 'full_attention', 'sliding_attention']}       | 9 0 9",
      })
  void qwenWindowsFollowLayerTypesOrMaxWindowLayers(String keys, String windows) {
    for (String family : List.of("qwen2", "qwen3")) {
      ModelConfig config = with(family(family), keys);
      assertEquals(
          windows,
          String.join(" ", config.slidingWindows().stream().map(String::valueOf).toList()));
    }
  }

  @Test
  void mistralHasOneWindowForAllLayersOrNone() {
    assertEquals(List.of(4096, 4096, 4096), with(family("mistral"), "{}").slidingWindows());
    assertEquals(
        List.of(0, 0, 0), with(family("mistral"), "{'sliding_window': null}").slidingWindows());
  }

  /** Gemma2's scale as torch rounds it: sqrt(2304) is exact, sqrt(3584) = 59.867 is not. */
  @Test
  void embeddingScaleIsRoundedToTheTypeOfTheWeights() {
    ModelConfig config = with(family("gemma2"), "{'hidden_size': 3584}");
    assertEquals((float) Math.sqrt(3584), config.embeddingScale(DType.F32));
    assertEquals(59.75f, config.embeddingScale(DType.BF16));
    assertEquals(59.875f, config.embeddingScale(DType.F16));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'model_type': 'phi3'}                    | model_type is \"phi3\", expected one of"
            + " llama,",
        "{'model_type': null, 'architectures': []} | model_type is missing, expected one of llama,",
        "{'model_type': 3}                         | model_type is 3, expected a string",
        "{'architectures': ['LlamaForSequenceClassification']} |"
            + " architectures is [\"LlamaForSequenceClassification\"], expected"
            + " [\"LlamaForCausalLM\"] for model_type llama",
        "{'architectures': ['MistralForCausalLM']} | architectures is",
        "{'hidden_size': null}          | hidden_size is null, expected an integer from 1",
        "{'hidden_size': 65}            | hidden_size is 65, expected a multiple of",
        "{'hidden_size': '64'}          | hidden_size is \"64\", expected an integer",
        "{'hidden_size': 64.0}          | hidden_size is 64.0, expected an integer",
        "{'vocab_size': 0}              | vocab_size is 0, expected an integer from 1",
        "{'vocab_size': 99999999999999} | vocab_size is 99999999999999, expected an integer",
        "{'num_key_value_heads': 3}     | expected a multiple of num_key_value_heads, which is 3",
        "{'num_key_value_heads': 8}     | num_key_value_heads is 8, expected an integer from 1 to"
            + " 4",
        "{'head_dim': 15}               | head_dim is 15, expected an even number",
        "{'rms_norm_eps': -1}           | rms_norm_eps is -1, expected a finite number greater than"
            + " 0",
        "{'rope_theta': 'x'}            | rope_theta is \"x\", expected a finite number",
        "{'rope_theta': NaN}            | rope_theta is ",
        "{'rope_theta': 1}              | rope_theta is 1.0, expected a finite number greater than"
            + " 1",
        "{'hidden_act': 'gelu'}         | hidden_act is \"gelu\", expected silu, gelu_new or",
        "{'tie_word_embeddings': 1}     | tie_word_embeddings is 1, expected true or false",
        "{'torch_dtype': 'float64'}     | torch_dtype is \"float64\", expected float32, bfloat16",
        "{'bos_token_id': 100}          | bos_token_id is 100, expected an integer from 0 to 99",
        "{'eos_token_id': [1, 'x']}     | eos_token_id is \"x\", expected an integer",
        "{'pretraining_tp': 2}          | pretraining_tp is 2, expected 1",
        "{'quantization_config': {}}    | quantization_config is {}, expected no such key",
        "{'num_local_experts': 8}       | num_local_experts is 8, expected an integer from 0 to 0",
        "{'partial_rotary_factor': 0.5} | partial_rotary_factor is 0.5, expected 1",
        "{'attention_dropout': 'x'}     | attention_dropout is \"x\", expected a number from 0 to"
            + " 1",
        "{'rope_scaling': {'type': 'longrope', 'factor': 2}} | rope_scaling.type is \"longrope\","
            + " expected default, linear, dynamic, yarn or llama3",
        "{'rope_scaling': {'type': 'linear'}} | rope_scaling.factor is missing",
        "{'rope_scaling': {'type': 'linear', 'factor': 2, 'beta_fast': 3}} |"
            + " rope_scaling.beta_fast is 3, expected no such key: rope_type linear has no such",
        "{'rope_scaling': {'rope_type': 'llama3', 'factor': 2, 'low_freq_factor': 4,"
            + " 'high_freq_factor': 1}} | rope high_freq_factor is 1.0, expected more than",
        "{'rope_scaling': {'type': 'linear', 'factor': 2},"
            + " 'rope_parameters': {'rope_type': 'linear', 'factor': 4}} |"
            + " expected the same as rope_parameters",
        "{'rope_parameters': {'full_attention': {'rope_type': 'default'}}} |"
            + " expected one setting for all layers",
        "{'rope_parameters': {'rope_type': 'default', 'partial_rotary_factor': 0.5}} |"
            + " rope_parameters.partial_rotary_factor is 0.5, expected 1",
      })
  void whatIsMalformedOrUnsupportedIsNamed(String keys, String message) {
    assertRefused(LLAMA, keys, message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "gpt2    | {'scale_attn_by_inverse_layer_idx': true} | scale_attn_by_inverse_layer_idx is"
            + " true",
        "gpt2    | {'add_cross_attention': true}             | add_cross_attention is true",
        "gpt2    | {'activation_function': 'silu'}           | expected gelu_new or gelu_pytorch",
        "gpt2    | {'n_embd': 32}                            | hidden_size is 64, expected the"
            + " value",
        "mistral | {'layer_types': ['full_attention']}       | expected no such key: Mistral",
        "mistral | {'sliding_window': 0}                     | sliding_window is 0, expected",
        "qwen2   | {'layer_types': ['full_attention']}       | expected one type for each of 3",
        "qwen2   | {'layer_types': ['full_attention', 'full_attention', 'conv']} | expected only",
        "qwen3   | {'layer_types': ['full_attention', 'full_attention', 'sliding_attention']}"
            + " | expected no sliding_attention while no sliding window is in use",
        "gemma2  | {'sliding_window': null}                  | sliding_window is null, expected",
        "gemma2  | {'use_bidirectional_attention': true}     | use_bidirectional_attention is true",
      })
  void whatAFamilyDoesNotHaveIsNamed(String family, String keys, String message) {
    assertRefused(family(family), keys, message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "{", "[]", "null", "3", "{\"a\": 1, \"a\": 2}", "{} {}", "{\"a\": \"\\ud8\"}"})
  void whatIsNoJsonObjectIsRefused(String text, @TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("config.json"), text);
    FormatException e = assertThrows(FormatException.class, () -> ModelConfig.read(file));
    assertEquals(file, e.file());
    assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
  }

  @Test
  void aMissingFileIsNamed(@TempDir Path folder) {
    Path file = folder.resolve("config.json");
    FormatException e = assertThrows(FormatException.class, () -> ModelConfig.read(file));
    assertEquals(file + ": does not exist", e.getMessage());
  }

  private static void assertRefused(String base, String keys, String message) {
    FormatException e = assertThrows(FormatException.class, () -> with(base, keys));
    assertEquals(FILE, e.file());
    assertTrue(e.getMessage().startsWith("config.json: "), e.getMessage());
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  private static ModelConfig llamaWith(String keys) {
    return with(LLAMA, keys);
  }

  /** A small model of {@code modelType} with the sizes of {@link #LLAMA}. */
  private static String family(String modelType) {
    Family family =
        List.of(Family.values()).stream()
            .filter(f -> f.modelType().equals(modelType))
            .findFirst()
            .orElseThrow();
    return LLAMA
        .replace("\"llama\"", "\"" + modelType + "\"")
        .replace("LlamaForCausalLM", family.architecture())
        .replace("\"vocab_size\"", "\"num_key_value_heads\": 4, \"vocab_size\"");
  }

  private static ModelConfig with(String base, String keys) {
    ObjectNode object = Json.parseObject(FILE, bytes(base));
    JsonNode changes = Json.parseObject(FILE, bytes(keys.replace('\'', '"')));
    object.setAll((ObjectNode) changes);
    return ModelConfig.parse(object, FILE);
  }

  private static ModelConfig parse(String text) {
    return ModelConfig.parse(Json.parseObject(FILE, bytes(text)), FILE);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
