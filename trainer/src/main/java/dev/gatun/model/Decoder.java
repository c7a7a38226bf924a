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
 *
 * <p>Of the last layer only the rows that predict are wanted, so behind its keys and values no
 * other row is computed.
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
    return Activations.allocate(slab, norm, config, dtype, policy, shape);
  }

  /** Carves the activations of a pass whose keys and values go to {@code cache}. */
  Activations activations(Slab slab, DType dtype, long tokens, long rows, KeyValueCache cache) {
    return Activations.allocateCached(
        slab, norm, config, dtype, tokens, rows, cache.keys(), cache.values());
  }

  /**
   * Runs the layers. The residual stream of the batch's rows behind the last one is the sum of
   * {@link #middle} and {@link #delta}, which the final norm adds. Does nothing for a batch that
   * predicts nothing.
   */
  public void forward(DecoderParameters weights, DeviceBatch batch, Activations activations) {
    if (batch.host().numRows() == 0) {
      return;
    }
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

  /** {@code [rows, hidden]}: the residual stream before the last layer's MLP output. */
  Tensor middle(Activations activations) {
    return activations.layer(layers.size() - 1).middle();
  }

  /** {@code [rows, hidden]}: the last layer's MLP output. */
  Tensor delta(Activations activations) {
    return activations.scratch().rows(middle(activations).dim(0)).delta();
  }

  /**
   * The mirror image, to the gradients of all parameters, which accumulate.
   *
   * @param dStream {@code [rows, hidden]} gradient of the residual stream behind the last layer;
   *     overwritten
   */
  public void backward(
      DecoderParameters weights,
      DecoderParameters gradients,
      DeviceBatch batch,
      Activations activations,
      Tensor dStream) {
    if (batch.host().numRows() == 0) {
      return;
    }
    Activations.Scratch scratch = activations.scratch();
    Tensor dX = Objects.requireNonNull(scratch.gradients()).dX();
    int last = layers.size() - 1;
    for (int i = last; i >= 0; i--) {
      LayerParameters layerWeights = weights.layers().get(i);
      Activations.Layer saved = activations.layer(i);
      // What the last layer computed is still there.
      if (activations.policy() == Activations.Policy.RECOMPUTE && i < last) {
        layers.get(i).recompute(layerWeights, batch, saved, scratch);
      }
      layers
          .get(i)
          .backward(
              layerWeights,
              gradients.layers().get(i),
              batch,
              saved,
              scratch,
              i == last ? dStream : dX);
    }
    Embedding.backward(
        backend,
        gradients.embedding(),
        gradients.positionEmbedding(),
        dX,
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
