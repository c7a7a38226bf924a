package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The Hugging Face tensor names of one model family: the only place that knows them. Names of a
 * layer's tensors are relative to {@link #layer(int)} and lack their {@code .weight} or {@code
 * .bias}.
 *
 * @param prefix what all names but the head's start with
 * @param layers folder of the layers, relative to {@code prefix}
 * @param qkv query, key and value projections in slab order; one name where the file holds them
 *     fused
 * @param gateUp gate and up projections, or the single input projection of an MLP without gate
 * @param postAttentionNorm norm of the attention's output before it joins the residual stream
 */
record TensorNames(
    String prefix,
    String embedding,
    @Nullable String positionEmbedding,
    String layers,
    String attentionNorm,
    List<String> qkv,
    String queryNorm,
    String keyNorm,
    String attentionOutput,
    @Nullable String postAttentionNorm,
    String mlpNorm,
    List<String> gateUp,
    String down,
    @Nullable String postMlpNorm,
    String finalNorm,
    String head) {

  static TensorNames of(ModelConfig config) {
    return switch (config.family()) {
      case LLAMA, MISTRAL, QWEN2, QWEN3 -> llamaLike("post_attention_layernorm", null, null);
      case GEMMA2 ->
          llamaLike(
              "pre_feedforward_layernorm",
              "post_attention_layernorm",
              "post_feedforward_layernorm");
      case GPT2 ->
          new TensorNames(
              "transformer.",
              "wte",
              "wpe",
              "h",
              "ln_1",
              List.of("attn.c_attn"),
              "",
              "",
              "attn.c_proj",
              null,
              "ln_2",
              List.of("mlp.c_fc"),
              "mlp.c_proj",
              null,
              "ln_f",
              "lm_head");
    };
  }

  private static TensorNames llamaLike(
      String mlpNorm, @Nullable String postAttentionNorm, @Nullable String postMlpNorm) {
    return new TensorNames(
        "model.",
        "embed_tokens",
        null,
        "layers",
        "input_layernorm",
        List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "self_attn.q_norm",
        "self_attn.k_norm",
        "self_attn.o_proj",
        postAttentionNorm,
        mlpNorm,
        List.of("mlp.gate_proj", "mlp.up_proj"),
        "mlp.down_proj",
        postMlpNorm,
        "norm",
        "lm_head");
  }

  /** Prefix of all names of layer {@code index}, with its trailing dot. */
  String layer(int index) {
    return prefix + layers + "." + index + ".";
  }
}
