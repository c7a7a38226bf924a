package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Everything a pass over the layers writes, carved out of the step slab.
 *
 * <p>Kept per layer is what is dear to compute again: projections, attention and the residual
 * stream. Normalized inputs and the MLP's activation are cheap, so the backward pass recomputes
 * them into {@link Scratch}.
 */
public final class Activations {
  /** What the forward pass keeps. */
  public enum Policy {
    /** All a backward pass needs. */
    KEEP,
    /** Only the input of each layer; the backward pass runs each layer's forward again. */
    RECOMPUTE,
    /** Nothing: for scoring and generation. */
    DISCARD
  }

  private final Policy policy;
  private final List<Layer> layers;
  private final Scratch scratch;

  private Activations(Policy policy, List<Layer> layers, Scratch scratch) {
    this.policy = policy;
    this.layers = layers;
    this.scratch = scratch;
  }

  /**
   * What one layer keeps. {@code T} tokens, {@code K} key rows, {@code W = (heads + 2 kvHeads) *
   * headDim}, {@code M} as in {@link LayerParameters}. {@code R} rows go through what is behind
   * attention: the batch's rows in the last layer, all {@code T} in the others.
   *
   * @param x {@code [T, hidden]} the residual stream that enters
   * @param qkv {@code [T, W]} projections; without qk-norm its query columns are rotated in place
   * @param query {@code [T, heads, headDim]} rotated queries: columns of qkv, or their own with
   *     qk-norm
   * @param key {@code [K, kvHeads, headDim]} rotated keys, prompt copies included
   * @param attention {@code [T, heads * headDim]}
   * @param lse {@code [T, heads]} f32
   * @param predicting in the last layer, what its rows take from the others
   * @param attentionOutput {@code [R, hidden]} the output projection, where a norm follows it
   * @param middle {@code [R, hidden]} the residual stream between attention and MLP
   * @param gateUp {@code [R, M]}; the backward pass overwrites it with its gradient
   * @param mlpOutput {@code [R, hidden]} the down projection, where a norm follows it
   */
  record Layer(
      Tensor x,
      Norm.Saved attentionNorm,
      Tensor qkv,
      Tensor query,
      Tensor key,
      Tensor value,
      @Nullable Tensor queryRstd,
      @Nullable Tensor keyRstd,
      Tensor attention,
      @Nullable Tensor lse,
      @Nullable Predicting predicting,
      @Nullable Tensor attentionOutput,
      Norm.@Nullable Saved postAttentionNorm,
      Tensor middle,
      Norm.Saved mlpNorm,
      Tensor gateUp,
      @Nullable Tensor mlpOutput,
      Norm.@Nullable Saved postMlpNorm) {

    /**
     * Rows of the last layer that are computed on: those that predict.
     *
     * @param x {@code [R, hidden]} rows of the layer's x
     * @param attention {@code [R, heads * headDim]} rows of the layer's attention; the backward
     *     pass overwrites them with their gradient
     */
    record Predicting(Tensor x, Tensor attention) {}

    Layer withInput(Tensor input) {
      return new Layer(
          input,
          attentionNorm,
          qkv,
          query,
          key,
          value,
          queryRstd,
          keyRstd,
          attention,
          lse,
          predicting,
          attentionOutput,
          postAttentionNorm,
          middle,
          mlpNorm,
          gateUp,
          mlpOutput,
          postMlpNorm);
    }

    Layer withCache(Tensor keys, Tensor values) {
      return new Layer(
          x,
          attentionNorm,
          qkv,
          query,
          keys,
          values,
          queryRstd,
          keyRstd,
          attention,
          lse,
          predicting,
          attentionOutput,
          postAttentionNorm,
          middle,
          mlpNorm,
          gateUp,
          mlpOutput,
          postMlpNorm);
    }

    /** The same memory as the last layer uses it. */
    Layer withPredicting(Predicting predicting) {
      long rows = predicting.x().dim(0);
      return new Layer(
          x,
          attentionNorm,
          qkv,
          query,
          key,
          value,
          queryRstd,
          keyRstd,
          attention,
          lse,
          predicting,
          attentionOutput == null ? null : attentionOutput.rows(0, rows),
          postAttentionNorm == null ? null : postAttentionNorm.rows(rows),
          middle.rows(0, rows),
          mlpNorm.rows(rows),
          gateUp.rows(0, rows),
          mlpOutput == null ? null : mlpOutput.rows(0, rows),
          postMlpNorm == null ? null : postMlpNorm.rows(rows));
    }
  }

  /**
   * Shared by all layers, contents valid inside one layer's pass only, but for {@code delta}: what
   * the last sublayer adds to the residual stream, and {@code dX}: the gradient of that stream. All
   * have {@code T} rows, or the {@code K} of the keys.
   */
  record Scratch(
      Tensor normed,
      Tensor delta,
      @Nullable Tensor normedQkv,
      Tensor activation,
      @Nullable Gradients gradients) {

    /** Present when there is a backward pass. */
    record Gradients(
        Tensor dX,
        Tensor dDelta,
        Tensor dQkv,
        Tensor dKey,
        Tensor dValue,
        Tensor dAttention,
        Tensor dActivation) {
      private Gradients rows(long count) {
        return new Gradients(
            dX.rows(0, count),
            dDelta.rows(0, count),
            dQkv.rows(0, count),
            dKey,
            dValue,
            dAttention.rows(0, count),
            dActivation.rows(0, count));
      }
    }

    /** The first rows of each, for so many tokens. */
    Scratch rows(long count) {
      return count == normed.dim(0)
          ? this
          : new Scratch(
              normed.rows(0, count),
              delta.rows(0, count),
              normedQkv == null ? null : normedQkv.rows(0, count),
              activation.rows(0, count),
              gradients == null ? null : gradients.rows(count));
    }
  }

  /** Carves activations for a batch of this shape. */
  static Activations allocate(
      Slab slab, ModelConfig config, DType dtype, Policy policy, BatchShape shape) {
    return new Planner(slab, config, dtype, shape.tokens(), shape.keyRows(), shape.rows())
        .plan(policy);
  }

  /**
   * Activations of a pass whose keys and values go to a cache: {@code keys} and {@code values} hold
   * one {@code [cache rows, kvHeads, headDim]} tensor per layer.
   */
  static Activations allocateCached(
      Slab slab,
      ModelConfig config,
      DType dtype,
      long tokens,
      long rows,
      List<Tensor> keys,
      List<Tensor> values) {
    Planner planner = new Planner(slab, config, dtype, tokens, 0, rows);
    Layer shared = planner.layer(false, tokens);
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.numLayers(); i++) {
      layers.add(shared.withCache(keys.get(i), values.get(i)));
    }
    layers.set(layers.size() - 1, layers.getLast().withPredicting(planner.predicting()));
    return new Activations(Policy.DISCARD, layers, planner.scratch(false));
  }

  Policy policy() {
    return policy;
  }

  Layer layer(int index) {
    return layers.get(index);
  }

  Scratch scratch() {
    return scratch;
  }

  private record Planner(
      Slab slab, ModelConfig config, DType dtype, long tokens, long keyRows, long rows) {

    Activations plan(Policy policy) {
      boolean trains = policy != Policy.DISCARD;
      int last = config.numLayers() - 1;
      // What depends on the number of rows comes last: all else has the same places with any.
      Scratch scratch = scratch(trains);
      List<Layer> layers = new ArrayList<>();
      Layer first = layer(trains, policy == Policy.KEEP && last == 0 ? rows : tokens);
      for (int i = 0; i <= last; i++) {
        layers.add(
            switch (policy) {
              case KEEP -> i == 0 ? first : layer(true, i == last ? rows : tokens);
              case RECOMPUTE -> first.withInput(hidden("x", tokens));
              case DISCARD -> first;
            });
      }
      layers.set(last, layers.get(last).withPredicting(predicting()));
      return new Activations(policy, layers, scratch);
    }

    Layer.Predicting predicting() {
      return new Layer.Predicting(
          hidden("predicting x", rows),
          slab.allocate(
              "predicting attention", dtype, rows, (long) config.numHeads() * config.headDim()));
    }

    /**
     * @param outputs rows that go through what is behind attention
     */
    Layer layer(boolean trains, long outputs) {
      int heads = config.numHeads();
      int kvHeads = config.numKeyValueHeads();
      int headDim = config.headDim();
      boolean postNorms = TensorNames.of(config).postAttentionNorm() != null;
      Tensor qkv = slab.allocate("qkv", dtype, tokens, (heads + 2L * kvHeads) * headDim);
      return new Layer(
          hidden("x", tokens),
          Norm.Saved.allocate(slab, config, "attention norm", tokens),
          qkv,
          config.qkNorm()
              ? slab.allocate("query", dtype, tokens, heads, headDim)
              : qkv.columns("query", 0, heads, headDim),
          slab.allocate("key", dtype, keyRows, kvHeads, headDim),
          slab.allocate("value", dtype, keyRows, kvHeads, headDim),
          config.qkNorm() ? slab.allocate("query rstd", DType.F32, tokens, heads) : null,
          config.qkNorm() ? slab.allocate("key rstd", DType.F32, tokens, kvHeads) : null,
          slab.allocate("attention", dtype, tokens, (long) heads * headDim),
          trains ? slab.allocate("lse", DType.F32, tokens, heads) : null,
          null,
          postNorms ? hidden("attention output", outputs) : null,
          postNorms ? Norm.Saved.allocate(slab, config, "post attention norm", outputs) : null,
          hidden("middle", outputs),
          Norm.Saved.allocate(slab, config, "mlp norm", outputs),
          slab.allocate("gate up", dtype, outputs, LayerParameters.gateUpWidth(config)),
          postNorms ? hidden("mlp output", outputs) : null,
          postNorms ? Norm.Saved.allocate(slab, config, "post mlp norm", outputs) : null);
    }

    Scratch scratch(boolean trains) {
      int heads = config.numHeads();
      int kvHeads = config.numKeyValueHeads();
      int headDim = config.headDim();
      long width = (heads + 2L * kvHeads) * headDim;
      return new Scratch(
          hidden("normed", tokens),
          hidden("delta", tokens),
          config.qkNorm() ? slab.allocate("normed qkv", dtype, tokens, width) : null,
          slab.allocate("activation", dtype, tokens, config.intermediateSize()),
          trains
              ? new Scratch.Gradients(
                  hidden("d x", tokens),
                  hidden("d delta", tokens),
                  slab.allocate("d qkv", dtype, tokens, width),
                  slab.allocate("d key", dtype, keyRows, kvHeads, headDim),
                  slab.allocate("d value", dtype, keyRows, kvHeads, headDim),
                  slab.allocate("d attention", dtype, tokens, (long) heads * headDim),
                  slab.allocate("d activation", dtype, tokens, config.intermediateSize()))
              : null);
    }

    private Tensor hidden(String name, long count) {
      return slab.allocate(name, dtype, count, config.hiddenSize());
    }
  }
}
