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
   * headDim}, {@code M} as in {@link LayerParameters}.
   *
   * @param x {@code [T, hidden]} the residual stream that enters
   * @param qkv {@code [T, W]} projections; without qk-norm its query columns are rotated in place
   * @param query {@code [T, heads, headDim]} rotated queries: columns of qkv, or their own with
   *     qk-norm
   * @param key {@code [K, kvHeads, headDim]} rotated keys, prompt copies included
   * @param attention {@code [T, heads * headDim]}
   * @param lse {@code [T, heads]} f32
   * @param attentionOutput {@code [T, hidden]} the output projection, where a norm follows it
   * @param middle {@code [T, hidden]} the residual stream between attention and MLP
   * @param gateUp {@code [T, M]}; the backward pass overwrites it with its gradient
   * @param mlpOutput {@code [T, hidden]} the down projection, where a norm follows it
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
      @Nullable Tensor attentionOutput,
      Norm.@Nullable Saved postAttentionNorm,
      Tensor middle,
      Norm.Saved mlpNorm,
      Tensor gateUp,
      @Nullable Tensor mlpOutput,
      Norm.@Nullable Saved postMlpNorm) {

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
          attentionOutput,
          postAttentionNorm,
          middle,
          mlpNorm,
          gateUp,
          mlpOutput,
          postMlpNorm);
    }
  }

  /**
   * Shared by all layers, contents valid inside one layer's pass only, but for {@code delta}: what
   * the last sublayer adds to the residual stream, and {@code dX}: the gradient of that stream.
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
        Tensor dActivation) {}
  }

  /** Carves activations for a batch of these sizes. */
  public static Activations allocate(
      Slab slab,
      Norm norm,
      ModelConfig config,
      DType dtype,
      Policy policy,
      long tokens,
      long keyRows) {
    return new Planner(slab, norm, config, dtype, tokens, keyRows).plan(policy);
  }

  /**
   * Activations of a pass whose keys and values go to a cache: {@code keys} and {@code values} hold
   * one {@code [cache rows, kvHeads, headDim]} tensor per layer.
   */
  static Activations allocateCached(
      Slab slab,
      Norm norm,
      ModelConfig config,
      DType dtype,
      long tokens,
      List<Tensor> keys,
      List<Tensor> values) {
    Planner planner = new Planner(slab, norm, config, dtype, tokens, 0);
    Layer shared = planner.layer(false);
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.numLayers(); i++) {
      layers.add(shared.withCache(keys.get(i), values.get(i)));
    }
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
      Slab slab, Norm norm, ModelConfig config, DType dtype, long tokens, long keyRows) {

    Activations plan(Policy policy) {
      boolean trains = policy != Policy.DISCARD;
      List<Layer> layers = new ArrayList<>();
      Layer first = layer(trains);
      for (int i = 0; i < config.numLayers(); i++) {
        layers.add(
            switch (policy) {
              case KEEP -> i == 0 ? first : layer(true);
              case RECOMPUTE -> first.withInput(hidden("x"));
              case DISCARD -> first;
            });
      }
      return new Activations(policy, layers, scratch(trains));
    }

    Layer layer(boolean trains) {
      int heads = config.numHeads();
      int kvHeads = config.numKeyValueHeads();
      int headDim = config.headDim();
      boolean postNorms = TensorNames.of(config).postAttentionNorm() != null;
      Tensor qkv = slab.allocate("qkv", dtype, tokens, (heads + 2L * kvHeads) * headDim);
      return new Layer(
          hidden("x"),
          norm.allocate(slab, "attention norm", tokens),
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
          postNorms ? hidden("attention output") : null,
          postNorms ? norm.allocate(slab, "post attention norm", tokens) : null,
          hidden("middle"),
          norm.allocate(slab, "mlp norm", tokens),
          slab.allocate("gate up", dtype, tokens, LayerParameters.gateUpWidth(config)),
          postNorms ? hidden("mlp output") : null,
          postNorms ? norm.allocate(slab, "post mlp norm", tokens) : null);
    }

    Scratch scratch(boolean trains) {
      int heads = config.numHeads();
      int kvHeads = config.numKeyValueHeads();
      int headDim = config.headDim();
      long width = (heads + 2L * kvHeads) * headDim;
      return new Scratch(
          hidden("normed"),
          hidden("delta"),
          config.qkNorm() ? slab.allocate("normed qkv", dtype, tokens, width) : null,
          slab.allocate("activation", dtype, tokens, config.intermediateSize()),
          trains
              ? new Scratch.Gradients(
                  hidden("d x"),
                  hidden("d delta"),
                  slab.allocate("d qkv", dtype, tokens, width),
                  slab.allocate("d key", dtype, keyRows, kvHeads, headDim),
                  slab.allocate("d value", dtype, keyRows, kvHeads, headDim),
                  slab.allocate("d attention", dtype, tokens, (long) heads * headDim),
                  slab.allocate("d activation", dtype, tokens, config.intermediateSize()))
              : null);
    }

    private Tensor hidden(String name) {
      return slab.allocate(name, dtype, tokens, config.hiddenSize());
    }
  }
}
