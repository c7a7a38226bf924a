package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.op.Embedding;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * A decoder-only transformer: embedding, layers, and the residual stream that {@link
 * LanguageModelHead} turns into log-probabilities. Holds no weights: the same decoder runs policy
 * and reference.
 */
public final class Decoder implements AutoCloseable {
  private final Backend backend;
  private final ModelConfig config;
  private final Norm norm;
  private final RopeTables rope;
  private final List<DecoderLayer> layers;

  /** A decoder for positions below {@code numPositions}. */
  public Decoder(Backend backend, ModelConfig config, int numPositions) {
    this.backend = backend;
    this.config = config;
    this.norm = new Norm(backend, config);
    this.rope = RopeTables.create(backend, config, numPositions);
    this.layers =
        IntStream.range(0, config.numLayers())
            .mapToObj(i -> new DecoderLayer(backend, config, norm, rope, i))
            .toList();
  }

  public ModelConfig config() {
    return config;
  }

  Norm norm() {
    return norm;
  }

  /** Carves the activations of a batch of this shape. */
  public Activations activations(
      Slab slab, DType dtype, Activations.Policy policy, BatchShape shape) {
    return Activations.allocate(slab, norm, config, dtype, policy, shape.tokens(), shape.keyRows());
  }

  /** Carves the activations of a pass whose keys and values go to {@code cache}. */
  Activations activations(Slab slab, DType dtype, long tokens, KeyValueCache cache) {
    return Activations.allocateCached(
        slab, norm, config, dtype, tokens, cache.keys(), cache.values());
  }

  /**
   * Runs the layers. The residual stream behind the last one is the sum of {@link #middle} and
   * {@link #delta}, left apart so that the head adds only the rows it reads.
   */
  public void forward(DecoderParameters weights, DeviceBatch batch, Activations activations) {
    Activations.Scratch scratch = activations.scratch();
    Embedding.forward(
        backend,
        activations.layer(0).x(),
        weights.embedding(),
        weights.positionEmbedding(),
        batch.tokenIds(),
        batch.positions(),
        config.embeddingScale(weights.embedding().dtype()));
    for (int i = 0; i < layers.size(); i++) {
      layers
          .get(i)
          .forward(
              weights.layers().get(i),
              batch,
              activations.layer(i),
              scratch,
              i == 0 ? null : activations.layer(i - 1).middle());
    }
  }

  /** {@code [tokens, hidden]}: the residual stream before the last layer's MLP output. */
  Tensor middle(Activations activations) {
    return activations.layer(layers.size() - 1).middle();
  }

  /** {@code [tokens, hidden]}: the last layer's MLP output. */
  Tensor delta(Activations activations) {
    return activations.scratch().delta();
  }

  /** {@code [tokens, hidden]}: where the head leaves the gradient of the residual stream. */
  Tensor dX(Activations activations) {
    return Objects.requireNonNull(activations.scratch().gradients()).dX();
  }

  /** The mirror image: from {@link #dX} to the gradients of all parameters, which accumulate. */
  public void backward(
      DecoderParameters weights,
      DecoderParameters gradients,
      DeviceBatch batch,
      Activations activations) {
    Activations.Scratch scratch = activations.scratch();
    for (int i = layers.size() - 1; i >= 0; i--) {
      LayerParameters layerWeights = weights.layers().get(i);
      Activations.Layer saved = activations.layer(i);
      if (activations.policy() == Activations.Policy.RECOMPUTE) {
        layers.get(i).forward(layerWeights, batch, saved, scratch, null);
      }
      layers.get(i).backward(layerWeights, gradients.layers().get(i), batch, saved, scratch);
    }
    Embedding.backward(
        backend,
        gradients.embedding(),
        gradients.positionEmbedding(),
        dX(activations),
        batch.tokenIds(),
        batch.positions(),
        config.embeddingScale(weights.embedding().dtype()));
  }

  /** Frees the rotation tables. */
  @Override
  public void close() {
    rope.close();
  }
}
