package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.tensor.DType;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What {@code config.json} says of a decoder-only model, with every default resolved as
 * transformers 5.18 resolves it.
 *
 * @param intermediateSize width of the MLP
 * @param maxPositions longest text; for GPT-2 the rows of the position embedding
 * @param normEps epsilon of every RMS or layer norm
 * @param rope null for GPT-2, which adds a learned position embedding
 * @param attentionBias the query, key and value projections have biases
 * @param attentionOutputBias the attention's output projection has a bias
 * @param mlpBias the projections of the MLP have biases
 * @param qkNorm queries and keys are RMS-normed per head before RoPE
 * @param slidingWindows per layer, the number of keys a query sees, itself included; 0 = all
 * @param attentionLogitSoftcap {@code s -> cap * tanh(s / cap)} on attention scores; 0 = none
 * @param finalLogitSoftcap the same on the head's logits; 0 = none
 * @param attentionScale factor of the attention scores
 * @param normWeightOffset added to the weight of every norm (Gemma stores {@code weight - 1})
 * @param dtype the type that the weights are said to have; null if config.json does not say
 * @param eosTokenIds all tokens that end a text
 * @param notes one line for each setting that training does not follow, to be printed
 */
public record ModelConfig(
    Family family,
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int numLayers,
    int numHeads,
    int numKeyValueHeads,
    int headDim,
    int maxPositions,
    float normEps,
    @Nullable RopeConfig rope,
    boolean tieWordEmbeddings,
    boolean attentionBias,
    boolean attentionOutputBias,
    boolean mlpBias,
    boolean qkNorm,
    Activation activation,
    List<Integer> slidingWindows,
    float attentionLogitSoftcap,
    float finalLogitSoftcap,
    float attentionScale,
    float normWeightOffset,
    @Nullable DType dtype,
    OptionalInt bosTokenId,
    List<Integer> eosTokenIds,
    OptionalInt padTokenId,
    List<String> notes) {

  /** The largest extent of a weight: far above any model, far below an overflow. */
  static final int MAX_SIZE = 1 << 24;

  static final int MAX_LAYERS = 1 << 12;
  private static final long MAX_FILE_BYTES = 16 << 20;

  /** A model architecture, as transformers names it. */
  public enum Family {
    LLAMA("llama", "LlamaForCausalLM"),
    MISTRAL("mistral", "MistralForCausalLM"),
    QWEN2("qwen2", "Qwen2ForCausalLM"),
    QWEN3("qwen3", "Qwen3ForCausalLM"),
    GEMMA2("gemma2", "Gemma2ForCausalLM"),
    GPT2("gpt2", "GPT2LMHeadModel");

    private final String modelType;
    private final String architecture;

    Family(String modelType, String architecture) {
      this.modelType = modelType;
      this.architecture = architecture;
    }

    /** The value of {@code model_type}. */
    public String modelType() {
      return modelType;
    }

    /** The value in {@code architectures}. */
    public String architecture() {
      return architecture;
    }

    static String modelTypes() {
      return Arrays.stream(values()).map(Family::modelType).collect(Collectors.joining(", "));
    }
  }

  /** The non-linearity of the MLP. */
  public enum Activation {
    SILU,
    GELU_TANH
  }

  public ModelConfig {
    slidingWindows = List.copyOf(slidingWindows);
    eosTokenIds = List.copyOf(eosTokenIds);
    notes = List.copyOf(notes);
    requireRange("vocab_size", vocabSize, 1, MAX_SIZE);
    requireRange("hidden_size", hiddenSize, 1, MAX_SIZE);
    requireRange("intermediate_size", intermediateSize, 1, MAX_SIZE);
    requireRange("num_hidden_layers", numLayers, 1, MAX_LAYERS);
    requireRange("num_attention_heads", numHeads, 1, MAX_SIZE);
    requireRange("num_key_value_heads", numKeyValueHeads, 1, numHeads);
    requireRange("head_dim", headDim, 1, MAX_SIZE);
    requireRange("max_position_embeddings", maxPositions, 1, Integer.MAX_VALUE);
    require(
        numHeads % numKeyValueHeads == 0,
        "num_attention_heads is %d, expected a multiple of num_key_value_heads, which is %d",
        numHeads,
        numKeyValueHeads);
    require(
        (long) numHeads * headDim <= MAX_SIZE,
        "num_attention_heads * head_dim is %d, expected at most %d",
        (long) numHeads * headDim,
        MAX_SIZE);
    require(
        (rope == null) == (family == Family.GPT2),
        "%s and rope %s do not go together",
        family.modelType(),
        rope);
    require(rope == null || headDim % 2 == 0, "head_dim is %d, expected an even number", headDim);
    require(
        slidingWindows.size() == numLayers,
        "there are %d sliding windows, expected one for each of %d layers",
        slidingWindows.size(),
        numLayers);
    for (int window : slidingWindows) {
      requireRange("sliding_window", window, 0, Integer.MAX_VALUE);
    }
    require(
        normEps >= 0 && Float.isFinite(normEps),
        "the norm epsilon is %s, expected a finite number of at least 0",
        normEps);
    bosTokenId.ifPresent(id -> requireRange("bos_token_id", id, 0, vocabSize - 1));
    padTokenId.ifPresent(id -> requireRange("pad_token_id", id, 0, vocabSize - 1));
    for (int id : eosTokenIds) {
      requireRange("eos_token_id", id, 0, vocabSize - 1);
    }
  }

  /**
   * Reads {@code config.json}; whatever is malformed or unsupported is a {@link FormatException}.
   */
  public static ModelConfig read(Path configJson) {
    return parse(Json.readObject(configJson, MAX_FILE_BYTES), configJson);
  }

  /** The same, of a parsed file; {@code file} is named in errors. */
  public static ModelConfig parse(JsonNode config, Path file) {
    if (!(config instanceof ObjectNode object)) {
      throw new FormatException(file, "holds " + Json.kind(config) + ", expected a JSON object");
    }
    return new ModelConfigReader(new JsonFields(file, "", object)).read();
  }

  /** The sliding window of {@code layer}: keys that a query sees, itself included; 0 = all. */
  public int slidingWindow(int layer) {
    return slidingWindows.get(layer);
  }

  /**
   * Factor of the token embeddings: sqrt(hiddenSize) in Gemma, rounded to the type of the weights
   * as transformers does ({@code Gemma2TextScaledWordEmbedding}); 1 elsewhere.
   */
  public float embeddingScale(DType weightType) {
    if (family != Family.GEMMA2) {
      return 1;
    }
    float scale = (float) Math.sqrt(hiddenSize);
    return switch (weightType) {
      case F32 -> scale;
      case BF16 -> roundToBf16(scale);
      case F16 -> Float.float16ToFloat(Float.floatToFloat16(scale));
      case I32, U16, U8 ->
          throw new IllegalArgumentException(
              "weights are " + weightType + ", expected f32, bf16 or f16");
    };
  }

  /** To nearest, ties to even; {@code value} is finite. */
  private static float roundToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return Float.intBitsToFloat((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
  }

  private static void requireRange(String name, int value, int min, int max) {
    require(
        min <= value && value <= max,
        "%s is %d, expected an integer from %d to %d",
        name,
        value,
        min,
        max);
  }

  private static void require(boolean condition, String format, @Nullable Object... arguments) {
    if (!condition) {
      throw new IllegalArgumentException(String.format(format, arguments));
    }
  }
}
