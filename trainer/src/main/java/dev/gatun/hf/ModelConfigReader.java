package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.hf.ModelConfig.Activation;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * {@code config.json} to {@link ModelConfig}. Source of every rule and default: transformers 5.18,
 * {@code models/<family>/configuration_<family>.py} and {@code modeling_<family>.py}.
 */
final class ModelConfigReader {
  private static final String FULL_ATTENTION = "full_attention";
  private static final String SLIDING_ATTENTION = "sliding_attention";

  private final JsonFields config;
  private final List<String> notes = new ArrayList<>();

  ModelConfigReader(JsonFields config) {
    this.config = config;
  }

  ModelConfig read() {
    Family family = family();
    refuseUnsupported(family);
    noteDropout();
    try {
      return family == Family.GPT2 ? gpt2() : gated(family);
    } catch (IllegalArgumentException e) {
      throw new FormatException(config.file(), String.valueOf(e.getMessage()), e);
    }
  }

  private Family family() {
    String modelType = config.stringOrNull("model_type");
    List<String> architectures = config.stringsOrNull("architectures");
    if (modelType == null && (architectures == null || architectures.isEmpty())) {
      throw config.missing("model_type", "one of " + Family.modelTypes());
    }
    Family family = null;
    if (modelType != null) {
      family =
          Arrays.stream(Family.values())
              .filter(f -> f.modelType().equals(modelType))
              .findFirst()
              .orElseThrow(() -> config.wrong("model_type", "one of " + Family.modelTypes()));
    }
    if (architectures != null && !architectures.isEmpty()) {
      String architecture = architectures.getFirst();
      Family named =
          Arrays.stream(Family.values())
              .filter(f -> f.architecture().equals(architecture))
              .findFirst()
              .orElse(null);
      if (architectures.size() != 1 || named == null || (family != null && family != named)) {
        throw config.wrong(
            "architectures",
            family != null
                ? "[\"" + family.architecture() + "\"] for model_type " + family.modelType()
                : "one of "
                    + Arrays.stream(Family.values()).map(Family::architecture).toList()
                    + ", a causal language model");
      }
      family = named;
    }
    if (family == null) {
      throw new AssertionError("model_type or architectures gave a family");
    }
    return family;
  }

  private void refuseUnsupported(Family family) {
    for (String key : List.of("quantization_config", "compression_config")) {
      if (config.has(key)) {
        throw config.wrong(key, "no such key: quantized weights cannot be trained");
      }
    }
    for (String key : List.of("num_local_experts", "num_experts", "n_routed_experts")) {
      config.intOr(key, 0, 0, 0); // mixture of experts
    }
    refuseTrue("is_encoder_decoder", "an encoder");
    refuseTrue("add_cross_attention", "cross-attention");
    refuseTrue("use_bidirectional_attention", "bidirectional attention");
    refuseTrue("scale_attn_by_inverse_layer_idx", "attention scaled by the layer's number");
    if (config.intOr("pretraining_tp", 1, 1, Integer.MAX_VALUE) != 1) {
      throw config.wrong("pretraining_tp", "1: projections in slices are not supported");
    }
    if (family != Family.GPT2 && config.positiveOr("partial_rotary_factor", 1) != 1) {
      throw config.wrong("partial_rotary_factor", "1: RoPE on a part of a head is not supported");
    }
  }

  private void refuseTrue(String key, String meaning) {
    if (config.booleanOr(key, false)) {
      throw config.wrong(key, "false: " + meaning + " is not supported");
    }
  }

  /** TRL switches dropout off before it trains (disable_dropout), so any value is accepted. */
  private void noteDropout() {
    for (String key : List.of("attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop")) {
      JsonNode node = config.get(key);
      if (node == null) {
        continue;
      }
      if (!node.isNumber() || !(node.doubleValue() >= 0 && node.doubleValue() <= 1)) {
        throw config.wrong(key, node, "a number from 0 to 1");
      }
      if (node.doubleValue() > 0) {
        notes.add(key + " is " + node + ": dropout is off, as in TRL");
      }
    }
  }

  private ModelConfig gpt2() {
    int hiddenSize = renamedInt("n_embd", "hidden_size");
    int numHeads = renamedInt("n_head", "num_attention_heads");
    int numLayers = requireLayers("n_layer", "num_hidden_layers");
    int headDim = dividedHeadDim(hiddenSize, numHeads);
    String positions = renamed("n_positions", "max_position_embeddings");
    return new ModelConfig(
        Family.GPT2,
        config.requiredInt("vocab_size", 1, ModelConfig.MAX_SIZE),
        hiddenSize,
        config.intOr("n_inner", Math.multiplyExact(4, hiddenSize), 1, ModelConfig.MAX_SIZE),
        numLayers,
        numHeads,
        numHeads,
        headDim,
        config.intOr(positions, 1024, 1, ModelConfig.MAX_SIZE),
        (float) config.positiveOr("layer_norm_epsilon", 1e-5),
        null,
        config.booleanOr("tie_word_embeddings", true),
        true,
        true,
        true,
        false,
        activation("activation_function", "gelu_new", Set.of(Activation.GELU_TANH)),
        Collections.nCopies(numLayers, 0),
        0,
        0,
        config.booleanOr("scale_attn_weights", true) ? inverseRoot(headDim) : 1,
        0,
        dtype(),
        tokenId("bos_token_id"),
        eosTokenIds(),
        tokenId("pad_token_id"),
        notes);
  }

  /** The families with RMS norm, RoPE and a gated MLP. */
  private ModelConfig gated(Family family) {
    int hiddenSize = config.requiredInt("hidden_size", 1, ModelConfig.MAX_SIZE);
    int numHeads = config.requiredInt("num_attention_heads", 1, ModelConfig.MAX_SIZE);
    int numLayers = requireLayers("num_hidden_layers", "num_hidden_layers");
    int headDim = headDim(family, hiddenSize, numHeads);
    int maxPositions =
        config.intOr(
            "max_position_embeddings",
            switch (family) {
              case LLAMA -> 2048;
              case MISTRAL -> 131072;
              case QWEN2, QWEN3 -> 32768;
              case GEMMA2 -> 8192;
              case GPT2 -> throw new AssertionError(family);
            },
            1,
            Integer.MAX_VALUE);
    boolean gemma = family == Family.GEMMA2;
    boolean attentionBias =
        switch (family) {
          case LLAMA, QWEN3, GEMMA2 -> config.booleanOr("attention_bias", false);
          case QWEN2 -> true;
          case MISTRAL, GPT2 -> false;
        };
    double queryScale =
        gemma ? config.positiveOr("query_pre_attn_scalar", 256) : headDim; // scale^-2
    return new ModelConfig(
        family,
        config.requiredInt("vocab_size", 1, ModelConfig.MAX_SIZE),
        hiddenSize,
        config.requiredInt("intermediate_size", 1, ModelConfig.MAX_SIZE),
        numLayers,
        numHeads,
        numKeyValueHeads(family, numHeads),
        headDim,
        maxPositions,
        (float) config.positiveOr("rms_norm_eps", 1e-6),
        new RopeReader(config, maxPositions).read(),
        config.booleanOr("tie_word_embeddings", gemma),
        attentionBias,
        attentionBias && family != Family.QWEN2,
        family == Family.LLAMA && config.booleanOr("mlp_bias", false),
        family == Family.QWEN3,
        gemma
            ? activation("hidden_activation", "gelu_pytorch_tanh", Set.of(Activation.values()))
            : activation("hidden_act", "silu", Set.of(Activation.values())),
        slidingWindows(family, numLayers),
        gemma ? softcap("attn_logit_softcapping", 50) : 0,
        gemma ? softcap("final_logit_softcapping", 30) : 0,
        inverseRoot(queryScale),
        gemma ? 1 : 0,
        dtype(),
        tokenId("bos_token_id"),
        eosTokenIds(),
        tokenId("pad_token_id"),
        notes);
  }

  private int headDim(Family family, int hiddenSize, int numHeads) {
    if ((family == Family.LLAMA || family == Family.GEMMA2) && hiddenSize % numHeads != 0) {
      throw config.wrong("hidden_size", "a multiple of num_attention_heads, which is " + numHeads);
    }
    OptionalInt given = config.optionalInt("head_dim", 1, ModelConfig.MAX_SIZE);
    if (given.isPresent()) {
      return given.getAsInt();
    }
    return switch (family) {
      case QWEN3 -> 128;
      case GEMMA2 -> 256;
      case LLAMA, MISTRAL, QWEN2, GPT2 -> dividedHeadDim(hiddenSize, numHeads);
    };
  }

  private int dividedHeadDim(int hiddenSize, int numHeads) {
    if (hiddenSize % numHeads != 0) {
      throw new FormatException(
          config.file(),
          "the hidden size is "
              + hiddenSize
              + ", expected a multiple of the number of attention heads, which is "
              + numHeads);
    }
    return hiddenSize / numHeads;
  }

  private int numKeyValueHeads(Family family, int numHeads) {
    // A written null means "as many as heads" everywhere; an absent key means the class's default.
    int absent =
        config.mentions("num_key_value_heads")
            ? numHeads
            : switch (family) {
              case LLAMA, GPT2 -> numHeads;
              case MISTRAL -> 8;
              case QWEN2, QWEN3 -> 32;
              case GEMMA2 -> 4;
            };
    return config.intOr("num_key_value_heads", absent, 1, ModelConfig.MAX_SIZE);
  }

  private List<Integer> slidingWindows(Family family, int numLayers) {
    return switch (family) {
      case LLAMA, GPT2 -> Collections.nCopies(numLayers, 0);
      case MISTRAL -> {
        if (config.has("layer_types")) {
          throw config.wrong(
              "layer_types", "no such key: Mistral has one sliding window for all layers");
        }
        // Written as null: full attention. Absent: the default of MistralConfig.
        int absent = config.mentions("sliding_window") ? 0 : 4096;
        yield Collections.nCopies(
            numLayers, config.intOr("sliding_window", absent, 1, Integer.MAX_VALUE));
      }
      case QWEN2, QWEN3 -> {
        int absent = config.mentions("sliding_window") ? 0 : 4096;
        int window =
            config.booleanOr("use_sliding_window", false)
                ? config.intOr("sliding_window", absent, 1, Integer.MAX_VALUE)
                : 0;
        int numFull = config.intOr("max_window_layers", 28, 0, Integer.MAX_VALUE);
        List<Integer> windows = new ArrayList<>(numLayers);
        for (int layer = 0; layer < numLayers; layer++) {
          windows.add(layer >= numFull ? window : 0);
        }
        yield byLayerTypes(numLayers, window, windows);
      }
      case GEMMA2 -> {
        int absent = config.mentions("sliding_window") ? 0 : 4096;
        int window = config.intOr("sliding_window", absent, 1, Integer.MAX_VALUE);
        List<Integer> windows = new ArrayList<>(numLayers);
        for (int layer = 0; layer < numLayers; layer++) {
          windows.add(layer % 2 == 0 ? window : 0);
        }
        if (window == 0 && !config.has("layer_types")) {
          throw config.wrong("sliding_window", "a number of tokens for the sliding layers");
        }
        yield byLayerTypes(numLayers, window, windows);
      }
    };
  }

  /** The windows that layer_types gives, or {@code absent} if there is no such key. */
  private List<Integer> byLayerTypes(int numLayers, int window, List<Integer> absent) {
    List<String> types = config.stringsOrNull("layer_types");
    if (types == null) {
      return absent;
    }
    if (types.size() != numLayers) {
      throw config.wrong("layer_types", "one type for each of " + numLayers + " layers");
    }
    List<Integer> windows = new ArrayList<>(numLayers);
    for (String type : types) {
      switch (type) {
        case FULL_ATTENTION, "attention" -> windows.add(0); // "attention": the name before v5
        case SLIDING_ATTENTION -> {
          if (window == 0) {
            throw config.wrong(
                "layer_types", "no sliding_attention while no sliding window is in use");
          }
          windows.add(window);
        }
        default ->
            throw config.wrong(
                "layer_types", "only " + FULL_ATTENTION + " and " + SLIDING_ATTENTION);
      }
    }
    return windows;
  }

  private Activation activation(String key, String absent, Set<Activation> supported) {
    String given = config.stringOrNull(key);
    Activation activation =
        switch (given == null ? absent : given) {
          case "silu", "swish" -> Activation.SILU;
          case "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh" -> Activation.GELU_TANH;
          default -> null;
        };
    if (activation == null || !supported.contains(activation)) {
      throw config.wrong(
          key,
          supported.contains(Activation.SILU)
              ? "silu, gelu_new or gelu_pytorch_tanh"
              : "gelu_new or gelu_pytorch_tanh");
    }
    return activation;
  }

  /** Written as null: none. */
  private float softcap(String key, double absent) {
    return (float) config.positiveOr(key, config.mentions(key) ? 0 : absent);
  }

  private @Nullable DType dtype() {
    String key = config.has("dtype") ? "dtype" : "torch_dtype";
    String name = config.stringOrNull(key);
    if (name == null) {
      return null;
    }
    return switch (name) {
      case "float32", "float" -> DType.F32;
      case "bfloat16" -> DType.BF16;
      case "float16", "half" -> DType.F16;
      default -> throw config.wrong(key, "float32, bfloat16 or float16");
    };
  }

  /** -1 stands for "none" in some published models (transformers: validate_token_ids). */
  private OptionalInt tokenId(String key) {
    OptionalInt id = config.optionalInt(key, -1, ModelConfig.MAX_SIZE);
    return id.isPresent() && id.getAsInt() == -1 ? OptionalInt.empty() : id;
  }

  private List<Integer> eosTokenIds() {
    return config.intsOrEmpty("eos_token_id", -1, ModelConfig.MAX_SIZE).stream()
        .filter(id -> id != -1)
        .toList();
  }

  private int requireLayers(String key, String otherKey) {
    return config.requiredInt(renamed(key, otherKey), 1, ModelConfig.MAX_LAYERS);
  }

  private int renamedInt(String key, String otherKey) {
    return config.requiredInt(renamed(key, otherKey), 1, ModelConfig.MAX_SIZE);
  }

  /** Which of two names of a setting is in use; both are an error unless they agree. */
  private String renamed(String key, String otherKey) {
    JsonNode value = config.get(key);
    JsonNode otherValue = config.get(otherKey);
    if (value != null && otherValue != null && !value.equals(otherValue)) {
      throw config.wrong(otherKey, "the value of " + key + ", which is " + JsonFields.shown(value));
    }
    return value == null && otherValue != null ? otherKey : key;
  }

  private static float inverseRoot(double value) {
    return (float) (1 / Math.sqrt(value));
  }
}
