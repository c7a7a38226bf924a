package dev.gatun.train;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.hf.ModelConfig.Family;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * The shape of a model that does not exist yet. Sizes are named as {@code config.json} names them
 * for Llama, whatever the family.
 *
 * @param headDim width of an attention head; null: {@code hiddenSize / numAttentionHeads}
 * @param ropeTheta base of the rotary embedding; GPT-2 has none
 */
public record NewModel(
    Family family,
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int numKeyValueHeads,
    @Nullable Integer headDim,
    int maxPositionEmbeddings,
    double ropeTheta,
    boolean tieWordEmbeddings) {
  /** Standard deviation of the random weights, as transformers' {@code initializer_range}. */
  static final double INITIALIZER_RANGE = 0.02;

  private static final double NORM_EPSILON = 1e-5;

  public NewModel {
    Check.that("hidden_size", hiddenSize >= 1, hiddenSize, "at least 1");
    Check.that("intermediate_size", intermediateSize >= 1, intermediateSize, "at least 1");
    Check.that("num_hidden_layers", numHiddenLayers >= 1, numHiddenLayers, "at least 1");
    Check.that("num_attention_heads", numAttentionHeads >= 1, numAttentionHeads, "at least 1");
    Check.that(
        "num_key_value_heads",
        numKeyValueHeads >= 1 && numAttentionHeads % numKeyValueHeads == 0,
        numKeyValueHeads,
        "a divisor of num_attention_heads %d".formatted(numAttentionHeads));
    Check.that(
        "hidden_size",
        headDim != null || hiddenSize % numAttentionHeads == 0,
        hiddenSize,
        "a multiple of num_attention_heads %d, or head_dim".formatted(numAttentionHeads));
    Check.that(
        "max_position_embeddings", maxPositionEmbeddings >= 1, maxPositionEmbeddings, "at least 1");
    Check.positive("rope_theta", ropeTheta);
    if (family == Family.GPT2) {
      Check.that(
          "num_key_value_heads",
          numKeyValueHeads == numAttentionHeads,
          numKeyValueHeads,
          "num_attention_heads %d: gpt2 has no groups".formatted(numAttentionHeads));
      Check.that("head_dim", headDim == null, String.valueOf(headDim), "none: gpt2 derives it");
      Check.that("tie_word_embeddings", tieWordEmbeddings, false, "true: gpt2 has no other head");
    }
  }

  /** The text of {@code config.json}. Token ids are those of the model's tokenizer. */
  public ObjectNode config(
      int vocabSize, OptionalInt bosTokenId, OptionalInt eosTokenId, OptionalInt padTokenId) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add(family.architecture());
    json.put("model_type", family.modelType());
    json.put("dtype", "float32");
    json.put("vocab_size", vocabSize);
    json.put("initializer_range", INITIALIZER_RANGE);
    json.put("tie_word_embeddings", tieWordEmbeddings);
    json.put("use_cache", true);
    bosTokenId.ifPresent(id -> json.put("bos_token_id", id));
    eosTokenId.ifPresent(id -> json.put("eos_token_id", id));
    padTokenId.ifPresent(id -> json.put("pad_token_id", id));
    return family == Family.GPT2 ? gpt2(json) : llamaLike(json);
  }

  private ObjectNode gpt2(ObjectNode json) {
    json.put("n_embd", hiddenSize);
    json.put("n_inner", intermediateSize);
    json.put("n_layer", numHiddenLayers);
    json.put("n_head", numAttentionHeads);
    json.put("n_positions", maxPositionEmbeddings);
    json.put("layer_norm_epsilon", NORM_EPSILON);
    json.put("activation_function", "gelu_new");
    return json;
  }

  private ObjectNode llamaLike(ObjectNode json) {
    int width = headDim == null ? hiddenSize / numAttentionHeads : headDim;
    json.put("hidden_size", hiddenSize);
    json.put("intermediate_size", intermediateSize);
    json.put("num_hidden_layers", numHiddenLayers);
    json.put("num_attention_heads", numAttentionHeads);
    json.put("num_key_value_heads", numKeyValueHeads);
    json.put("head_dim", width);
    json.put("max_position_embeddings", maxPositionEmbeddings);
    json.put("rms_norm_eps", NORM_EPSILON);
    json.putObject("rope_parameters").put("rope_theta", ropeTheta).put("rope_type", "default");
    switch (family) {
      case GEMMA2 -> {
        json.put("hidden_activation", "gelu_pytorch_tanh");
        json.put("query_pre_attn_scalar", width);
        // Gemma 2's own values: every other layer sees 4096 tokens, scores and logits are capped.
        json.put("sliding_window", 4096);
        json.put("attn_logit_softcapping", 50.0);
        json.put("final_logit_softcapping", 30.0);
      }
      case MISTRAL -> json.put("hidden_act", "silu").putNull("sliding_window");
      case LLAMA, QWEN2, QWEN3, GPT2 -> json.put("hidden_act", "silu");
    }
    return json;
  }
}
