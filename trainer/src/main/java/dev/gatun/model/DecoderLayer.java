package dev.gatun.model;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.op.Activation;
import dev.gatun.op.Attention;
import dev.gatun.op.AttentionOptions;
import dev.gatun.op.Gather;
import dev.gatun.op.Gelu;
import dev.gatun.op.Linear;
import dev.gatun.op.RmsNorm;
import dev.gatun.op.Rope;
import dev.gatun.op.Segments;
import dev.gatun.op.Swiglu;
import dev.gatun.op.WeightLayout;
import dev.gatun.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One transformer layer: attention, then MLP, each read from the residual stream through a norm and
 * added back to it.
 *
 * <p>The addition of a sublayer's output ({@code scratch.delta}) is fused with the norm that
 * follows it, so a layer begins by adding what its predecessor left there, and ends leaving its
 * own.
 *
 * <p>The last layer, which {@code saved.predicting} tells, computes queries of prompts but for the
 * projection, which is one product with that of keys and values, no further.
 */
final class DecoderLayer {
  private final Backend backend;
  private final ModelConfig config;
  private final Norm norm;
  private final RopeTables rope;
  private final AttentionOptions attentionOptions;
  private final WeightLayout weightLayout;
  private final boolean gated;
  private final Activation activation;

  DecoderLayer(Backend backend, ModelConfig config, Norm norm, RopeTables rope, int index) {
    this.backend = backend;
    this.config = config;
    this.norm = norm;
    this.rope = rope;
    this.attentionOptions =
        new AttentionOptions(
            config.attentionScale(), config.attentionLogitSoftcap(), config.slidingWindow(index));
    this.weightLayout = config.family() == Family.GPT2 ? WeightLayout.IN_OUT : WeightLayout.OUT_IN;
    this.gated = TensorNames.of(config).gateUp().size() == 2;
    this.activation =
        switch (config.activation()) {
          case SILU -> Activation.SILU;
          case GELU_TANH -> Activation.GELU_TANH;
        };
  }

  /**
   * x = previous + delta, then the layer. Without {@code previous}, x is already there (the first
   * layer, or a recomputation). Leaves the residual stream in {@code saved.middle} and {@code
   * scratch.delta}.
   */
  void forward(
      LayerParameters weights,
      DeviceBatch batch,
      Activations.Layer saved,
      Activations.Scratch scratch,
      @Nullable Tensor previous) {
    Activations.Scratch behind = throughGateUp(weights, batch, saved, scratch, previous);
    down(weights, saved, behind);
  }

  /**
   * Computes again, from {@code saved.x}, what {@link #backward} reads: all but the down
   * projection, unless a norm follows that.
   */
  void recompute(
      LayerParameters weights,
      DeviceBatch batch,
      Activations.Layer saved,
      Activations.Scratch scratch) {
    Activations.Scratch behind = throughGateUp(weights, batch, saved, scratch, null);
    if (saved.mlpOutput() != null) {
      down(weights, saved, behind);
    }
  }

  /** Up to the MLP's first projection; the scratch of the rows that go on from there. */
  private Activations.Scratch throughGateUp(
      LayerParameters weights,
      DeviceBatch batch,
      Activations.Layer saved,
      Activations.Scratch scratch,
      @Nullable Tensor previous) {
    // attention
    if (previous == null) {
      norm.forward(
          scratch.normed(), null, saved.attentionNorm(), saved.x(), null, weights.attentionNorm());
    } else {
      norm.forward(
          scratch.normed(),
          saved.x(),
          saved.attentionNorm(),
          previous,
          scratch.delta(),
          weights.attentionNorm());
    }
    Linear.forward(
        backend, saved.qkv(), scratch.normed(), weights.qkv(), weights.qkvBias(), weightLayout);
    Tensor query = queryColumns(saved.qkv());
    Tensor key = keyColumns(saved.qkv());
    if (config.qkNorm()) {
      Tensor normedKey = keyColumns(Objects.requireNonNull(scratch.normedQkv()));
      headNorm(saved.query(), saved.queryRstd(), query, weights.queryNorm());
      headNorm(normedKey, saved.keyRstd(), key, weights.keyNorm());
      query = saved.query();
      key = normedKey;
    }
    Rope.forward(
        backend,
        saved.query(),
        saved.key(),
        saved.value(),
        query,
        key,
        valueColumns(saved.qkv()),
        rope.cos(),
        rope.sin(),
        batch.positions(),
        batch.keyRows(),
        batch.keyCopyRows());
    Attention.forward(
        backend,
        saved.attention(),
        saved.lse(),
        saved.query(),
        saved.key(),
        saved.value(),
        segments(batch, saved),
        attentionOptions);
    Tensor x = saved.x();
    Tensor attention = saved.attention();
    Activations.Layer.Predicting predicting = saved.predicting();
    if (predicting != null) {
      x = predicting.x();
      attention = predicting.attention();
      Gather.forward(backend, x, saved.x(), batch.rows());
      Gather.forward(backend, attention, saved.attention(), batch.rows());
    }
    Activations.Scratch behind = scratch.rows(x.dim(0));
    sublayerOutput(
        attention,
        weights.output(),
        weights.outputBias(),
        saved.attentionOutput(),
        saved.postAttentionNorm(),
        weights.postAttentionNorm(),
        behind);

    // MLP
    norm.forward(
        behind.normed(), saved.middle(), saved.mlpNorm(), x, behind.delta(), weights.mlpNorm());
    Linear.forward(
        backend,
        saved.gateUp(),
        behind.normed(),
        weights.gateUp(),
        weights.gateUpBias(),
        weightLayout);
    return behind;
  }

  /** The MLP's activation and second projection. */
  private void down(LayerParameters weights, Activations.Layer saved, Activations.Scratch behind) {
    if (gated) {
      Swiglu.forward(backend, behind.activation(), saved.gateUp(), activation);
    } else {
      Gelu.forward(backend, behind.activation(), saved.gateUp());
    }
    sublayerOutput(
        behind.activation(),
        weights.down(),
        weights.downBias(),
        saved.mlpOutput(),
        saved.postMlpNorm(),
        weights.postMlpNorm(),
        behind);
  }

  /**
   * Leaves the gradient of {@code saved.x} in {@code gradients.dX}. Parameter gradients accumulate.
   * Overwrites {@code saved.gateUp}.
   *
   * @param dStream gradient of the residual stream behind the layer, overwritten: {@code
   *     gradients.dX}, or, in the last layer, that of its rows
   */
  void backward(
      LayerParameters weights,
      LayerParameters dWeights,
      DeviceBatch batch,
      Activations.Layer saved,
      Activations.Scratch scratch,
      Tensor dStream) {
    Activations.Scratch.Gradients d = Objects.requireNonNull(scratch.gradients());
    Activations.Scratch behind = scratch.rows(dStream.dim(0));
    Activations.Scratch.Gradients dBehind = Objects.requireNonNull(behind.gradients());
    Activations.Layer.Predicting predicting = saved.predicting();

    // MLP
    Tensor dOutput =
        sublayerOutputBackward(
            dBehind.dDelta(),
            dStream,
            saved.mlpOutput(),
            saved.postMlpNorm(),
            weights.postMlpNorm(),
            dWeights.postMlpNorm());
    Linear.backwardInput(
        backend,
        dBehind.dActivation(),
        dOutput,
        weights.down(),
        weightLayout,
        Accumulate.OVERWRITE);
    Tensor dGateUp = saved.gateUp();
    if (gated) {
      Swiglu.backward(
          backend, dGateUp, behind.activation(), dBehind.dActivation(), saved.gateUp(), activation);
    } else {
      Gelu.backward(backend, dGateUp, behind.activation(), dBehind.dActivation(), saved.gateUp());
    }
    linearBackward(dWeights.down(), dWeights.downBias(), dOutput, behind.activation());
    norm.forward(behind.normed(), null, saved.mlpNorm(), saved.middle(), null, weights.mlpNorm());
    linearBackward(dWeights.gateUp(), dWeights.gateUpBias(), dGateUp, behind.normed());
    Linear.backwardInput(
        backend, behind.normed(), dGateUp, weights.gateUp(), weightLayout, Accumulate.OVERWRITE);
    norm.backward(
        dStream,
        dWeights.mlpNorm(),
        behind.normed(),
        saved.middle(),
        weights.mlpNorm(),
        saved.mlpNorm(),
        dStream);

    // attention
    dOutput =
        sublayerOutputBackward(
            dBehind.dDelta(),
            dStream,
            saved.attentionOutput(),
            saved.postAttentionNorm(),
            weights.postAttentionNorm(),
            dWeights.postAttentionNorm());
    Tensor attention = predicting == null ? saved.attention() : predicting.attention();
    linearBackward(dWeights.output(), dWeights.outputBias(), dOutput, attention);
    Tensor dAttention = predicting == null ? d.dAttention() : attention;
    Linear.backwardInput(
        backend, dAttention, dOutput, weights.output(), weightLayout, Accumulate.OVERWRITE);
    if (predicting != null) {
      Gather.backward(backend, d.dAttention(), dAttention, batch.rows());
      Gather.backward(backend, d.dX(), dStream, batch.rows());
      backend.zero(d.dQkv()); // That of queries outside the segments.
    }
    Tensor dQuery = queryColumns(d.dQkv());
    Tensor dKey = keyColumns(d.dQkv());
    Attention.backward(
        backend,
        dQuery,
        d.dKey(),
        d.dValue(),
        d.dAttention(),
        saved.attention(),
        Objects.requireNonNull(saved.lse()),
        saved.query(),
        saved.key(),
        saved.value(),
        segments(batch, saved),
        attentionOptions);
    Rope.backward(
        backend,
        dQuery,
        dKey,
        valueColumns(d.dQkv()),
        dQuery,
        d.dKey(),
        d.dValue(),
        rope.cos(),
        rope.sin(),
        batch.positions(),
        batch.keyRows(),
        batch.keyCopyRows());
    if (config.qkNorm()) {
      headNormBackward(
          dQuery,
          dWeights.queryNorm(),
          queryColumns(saved.qkv()),
          weights.queryNorm(),
          saved.queryRstd());
      headNormBackward(
          dKey, dWeights.keyNorm(), keyColumns(saved.qkv()), weights.keyNorm(), saved.keyRstd());
    }
    norm.forward(
        scratch.normed(), null, saved.attentionNorm(), saved.x(), null, weights.attentionNorm());
    linearBackward(dWeights.qkv(), dWeights.qkvBias(), d.dQkv(), scratch.normed());
    Tensor dNormed = scratch.normed();
    Linear.backwardInput(
        backend, dNormed, d.dQkv(), weights.qkv(), weightLayout, Accumulate.OVERWRITE);
    norm.backward(
        d.dX(),
        dWeights.attentionNorm(),
        dNormed,
        saved.x(),
        weights.attentionNorm(),
        saved.attentionNorm(),
        d.dX());
  }

  private static Segments segments(DeviceBatch batch, Activations.Layer saved) {
    return saved.predicting() == null ? batch.segments() : batch.lastSegments();
  }

  /** delta = input * weight, through the norm that some families put behind it. */
  private void sublayerOutput(
      Tensor input,
      Tensor weight,
      @Nullable Tensor bias,
      @Nullable Tensor output,
      Norm.@Nullable Saved postNorm,
      LayerParameters.@Nullable NormParameters postNormWeights,
      Activations.Scratch scratch) {
    if (output == null) {
      Linear.forward(backend, scratch.delta(), input, weight, bias, weightLayout);
    } else {
      Linear.forward(backend, output, input, weight, bias, weightLayout);
      norm.forward(
          scratch.delta(),
          null,
          Objects.requireNonNull(postNorm),
          output,
          null,
          Objects.requireNonNull(postNormWeights));
    }
  }

  /** Gradient of a sublayer's output projection: the stream's own, or that behind the post-norm. */
  private Tensor sublayerOutputBackward(
      Tensor dDelta,
      Tensor dStream,
      @Nullable Tensor output,
      Norm.@Nullable Saved postNorm,
      LayerParameters.@Nullable NormParameters postNormWeights,
      LayerParameters.@Nullable NormParameters dPostNormWeights) {
    if (output == null) {
      return dStream;
    }
    norm.backward(
        dDelta,
        Objects.requireNonNull(dPostNormWeights),
        dStream,
        output,
        Objects.requireNonNull(postNormWeights),
        Objects.requireNonNull(postNorm),
        null);
    return dDelta;
  }

  private void linearBackward(
      Tensor dWeight, @Nullable Tensor dBias, Tensor dOutput, Tensor input) {
    Linear.backwardWeight(backend, dWeight, dOutput, input, weightLayout);
    if (dBias != null) {
      Linear.backwardBias(backend, dBias, dOutput);
    }
  }

  private void headNorm(Tensor y, @Nullable Tensor rstd, Tensor x, @Nullable Tensor weight) {
    RmsNorm.forward(
        backend,
        y,
        null,
        Objects.requireNonNull(rstd),
        x,
        null,
        Objects.requireNonNull(weight),
        config.normEps(),
        config.normWeightOffset());
  }

  private void headNormBackward(
      Tensor d,
      @Nullable Tensor dWeight,
      Tensor x,
      @Nullable Tensor weight,
      @Nullable Tensor rstd) {
    RmsNorm.backward(
        backend,
        d,
        Objects.requireNonNull(dWeight),
        d,
        x,
        Objects.requireNonNull(weight),
        Objects.requireNonNull(rstd),
        null,
        config.normWeightOffset());
  }

  private Tensor queryColumns(Tensor qkv) {
    return qkv.columns("query", 0, config.numHeads(), config.headDim());
  }

  private Tensor keyColumns(Tensor qkv) {
    return qkv.columns(
        "key",
        (long) config.numHeads() * config.headDim(),
        config.numKeyValueHeads(),
        config.headDim());
  }

  private Tensor valueColumns(Tensor qkv) {
    return qkv.columns(
        "value",
        ((long) config.numHeads() + config.numKeyValueHeads()) * config.headDim(),
        config.numKeyValueHeads(),
        config.headDim());
  }
}
