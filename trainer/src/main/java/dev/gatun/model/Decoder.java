package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.backend.ReplayKey;
import dev.gatun.hf.ModelConfig;
import dev.gatun.op.Embedding;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

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

  /** Bytes that a decoder for positions below {@code numPositions} keeps on its device. */
  public static long sizeBytes(ModelConfig config, int numPositions) {
    return RopeTables.sizeBytes(config, numPositions);
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
    return Activations.allocate(slab, config, dtype, policy, shape);
  }

  /** Carves the activations of a pass whose keys and values go to {@code cache}. */
  Activations activations(Slab slab, DType dtype, long tokens, long rows, KeyValueCache cache) {
    return Activations.allocateCached(
        slab, config, dtype, tokens, rows, cache.keys(), cache.values());
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
    int last = layers.size() - 1;
    backend.replay(
        key("forward", weights, null, batch, activations),
        () -> forwardBeforeLast(weights, batch, activations));
    layers
        .get(last)
        .forward(
            weights.layers().get(last),
            batch,
            activations.layer(last),
            activations.scratch(),
            last == 0 ? null : activations.layer(last - 1).middle());
  }

  /** To the last layer, whose extents depend on how many rows predict: those hardly repeat. */
  private void forwardBeforeLast(
      DecoderParameters weights, DeviceBatch batch, Activations activations) {
    Activations.Scratch scratch = activations.scratch();
    Embedding.forward(
        backend,
        activations.layer(0).x(),
        weights.embedding(),
        weights.positionEmbedding(),
        batch.tokenIds(),
        batch.positions(),
        config.embeddingScale(weights.embedding().dtype()));
    for (int i = 0; i < layers.size() - 1; i++) {
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
    // What the last layer computed is still there, recomputed or not.
    int last = layers.size() - 1;
    layers
        .get(last)
        .backward(
            weights.layers().get(last),
            gradients.layers().get(last),
            batch,
            activations.layer(last),
            activations.scratch(),
            dStream);
    backend.replay(
        key("backward", weights, gradients, batch, activations),
        () -> backwardBeforeLast(weights, gradients, batch, activations));
  }

  private void backwardBeforeLast(
      DecoderParameters weights,
      DecoderParameters gradients,
      DeviceBatch batch,
      Activations activations) {
    Activations.Scratch scratch = activations.scratch();
    Tensor dX = Objects.requireNonNull(scratch.gradients()).dX();
    for (int i = layers.size() - 2; i >= 0; i--) {
      LayerParameters layerWeights = weights.layers().get(i);
      Activations.Layer saved = activations.layer(i);
      if (activations.policy() == Activations.Policy.RECOMPUTE) {
        layers.get(i).recompute(layerWeights, batch, saved, scratch);
      }
      layers.get(i).backward(layerWeights, gradients.layers().get(i), batch, saved, scratch, dX);
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

  /**
   * What a pass over all layers but the last depends on. Tensors not named here lie in a slab at
   * places that follow from those that are.
   */
  private ReplayKey key(
      String pass,
      DecoderParameters weights,
      @Nullable DecoderParameters gradients,
      DeviceBatch batch,
      Activations activations) {
    List<Tensor> operands = new ArrayList<>();
    operands.add(weights.embedding());
    operands.add(weights.layers().getFirst().qkv());
    operands.add(weights.layers().getLast().qkv());
    if (gradients != null) {
      operands.add(gradients.embedding());
      operands.add(gradients.layers().getLast().qkv());
      operands.add(Objects.requireNonNull(activations.scratch().gradients()).dX());
      operands.add(Objects.requireNonNull(activations.scratch().gradients()).dKey());
    }
    if (rope.cos() != null) {
      operands.add(rope.cos());
    }
    operands.add(batch.tokenIds());
    operands.add(batch.positions());
    operands.add(batch.keyRows());
    operands.add(batch.keyCopyRows());
    operands.add(batch.segments().table());
    operands.add(activations.scratch().normed());
    operands.add(activations.scratch().delta());
    for (int i : new int[] {0, Math.max(0, layers.size() - 2)}) {
      Activations.Layer layer = activations.layer(i);
      operands.add(layer.x());
      operands.add(layer.key());
      operands.add(layer.value());
      operands.add(layer.gateUp());
    }
    return ReplayKey.of(
        pass + " " + activations.policy(),
        batch.segments().launch(),
        operands.toArray(Tensor[]::new));
  }

  /** Frees the rotation tables. */
  @Override
  public void close() {
    rope.close();
  }
}
