package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.model.LayerParameters.NormParameters;
import dev.gatun.tensor.Tensor;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The tensors of a {@link Parameters} slab as the forward pass meets them.
 *
 * @param embedding {@code [vocab, hidden]}
 * @param positionEmbedding {@code [maxPositions, hidden]}, GPT-2 only
 * @param head {@code [vocab, hidden]}; the embedding itself where the two are tied
 */
public record DecoderParameters(
    Tensor embedding,
    @Nullable Tensor positionEmbedding,
    List<LayerParameters> layers,
    NormParameters finalNorm,
    Tensor head) {

  public static DecoderParameters of(Parameters parameters, ModelConfig config) {
    TensorNames names = TensorNames.of(config);
    Tensor embedding = parameters.get(names.prefix() + names.embedding() + ".weight");
    return new DecoderParameters(
        embedding,
        names.positionEmbedding() == null
            ? null
            : parameters.get(names.prefix() + names.positionEmbedding() + ".weight"),
        IntStream.range(0, config.numLayers())
            .mapToObj(i -> LayerParameters.of(parameters, config, i))
            .toList(),
        NormParameters.of(parameters, names.prefix() + names.finalNorm()),
        config.tieWordEmbeddings() ? embedding : parameters.get(names.head() + ".weight"));
  }
}
