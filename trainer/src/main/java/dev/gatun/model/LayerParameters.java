package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.tensor.Tensor;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The tensors of one layer in one role: weights, or their gradients. Shapes are for {@code W =
 * (heads + 2 kvHeads) * headDim} and {@code M} = 2 * intermediate with a gated MLP, intermediate
 * without; GPT-2 stores its matrices transposed. Null where the family has no such tensor.
 *
 * @param qkv {@code [W, hidden]}
 * @param output {@code [hidden, heads * headDim]}
 * @param gateUp {@code [M, hidden]}
 * @param down {@code [hidden, intermediate]}
 */
record LayerParameters(
    NormParameters attentionNorm,
    Tensor qkv,
    @Nullable Tensor qkvBias,
    @Nullable Tensor queryNorm,
    @Nullable Tensor keyNorm,
    Tensor output,
    @Nullable Tensor outputBias,
    @Nullable NormParameters postAttentionNorm,
    NormParameters mlpNorm,
    Tensor gateUp,
    @Nullable Tensor gateUpBias,
    Tensor down,
    @Nullable Tensor downBias,
    @Nullable NormParameters postMlpNorm) {

  /** Weight and, for layer norm, bias of a normalization: {@code [hidden]} each. */
  record NormParameters(Tensor weight, @Nullable Tensor bias) {
    static NormParameters of(Parameters parameters, String name) {
      return new NormParameters(parameters.get(name + ".weight"), parameters.find(name + ".bias"));
    }
  }

  /** Columns of the MLP's input projection: gate and up, or up alone. */
  static long gateUpWidth(ModelConfig config) {
    return (long) TensorNames.of(config).gateUp().size() * config.intermediateSize();
  }

  static LayerParameters of(Parameters parameters, ModelConfig config, int index) {
    TensorNames names = TensorNames.of(config);
    String prefix = names.layer(index);
    return new LayerParameters(
        NormParameters.of(parameters, prefix + names.attentionNorm()),
        weights(parameters, prefix, names.qkv()),
        biases(parameters, prefix, names.qkv()),
        config.qkNorm() ? parameters.get(prefix + names.queryNorm() + ".weight") : null,
        config.qkNorm() ? parameters.get(prefix + names.keyNorm() + ".weight") : null,
        weights(parameters, prefix, List.of(names.attentionOutput())),
        biases(parameters, prefix, List.of(names.attentionOutput())),
        optionalNorm(parameters, prefix, names.postAttentionNorm()),
        NormParameters.of(parameters, prefix + names.mlpNorm()),
        weights(parameters, prefix, names.gateUp()),
        biases(parameters, prefix, names.gateUp()),
        weights(parameters, prefix, List.of(names.down())),
        biases(parameters, prefix, List.of(names.down())),
        optionalNorm(parameters, prefix, names.postMlpNorm()));
  }

  private static Tensor weights(Parameters parameters, String prefix, List<String> names) {
    return Objects.requireNonNull(
        parameters.fused(names.stream().map(name -> prefix + name + ".weight").toList()));
  }

  private static @Nullable Tensor biases(Parameters parameters, String prefix, List<String> names) {
    return parameters.fused(names.stream().map(name -> prefix + name + ".bias").toList());
  }

  private static @Nullable NormParameters optionalNorm(
      Parameters parameters, String prefix, @Nullable String name) {
    return name == null ? null : NormParameters.of(parameters, prefix + name);
  }
}
