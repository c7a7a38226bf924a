package dev.gatun.bench;

import dev.gatun.model.DeviceBatch;
import dev.gatun.model.PackedBatch;
import dev.gatun.op.Activation;
import dev.gatun.op.AdamW;
import dev.gatun.op.AdamW8bit;
import dev.gatun.op.Attention;
import dev.gatun.op.Embedding;
import dev.gatun.op.Gather;
import dev.gatun.op.Gelu;
import dev.gatun.op.GradNorm;
import dev.gatun.op.LayerNorm;
import dev.gatun.op.Linear;
import dev.gatun.op.LogProb;
import dev.gatun.op.Master;
import dev.gatun.op.Mix;
import dev.gatun.op.Preference;
import dev.gatun.op.PreferenceDivergence;
import dev.gatun.op.PreferenceLoss;
import dev.gatun.op.PreferenceOptions;
import dev.gatun.op.Residual;
import dev.gatun.op.RmsNorm;
import dev.gatun.op.RmsProp;
import dev.gatun.op.RmsPropStep;
import dev.gatun.op.Rope;
import dev.gatun.op.Sgd;
import dev.gatun.op.SgdStep;
import dev.gatun.op.Swiglu;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;

/**
 * Every matrix product of a step, every op of the kernel table, and the copies that they are
 * compared with.
 */
public enum OpPass {
  COPY_MEMORY(step -> step.copy(OpStep.MEMORY_ELEMENTS)),
  COPY(step -> step.copy(step.tokens * step.hidden)),
  QKV(step -> step.qkv().forward()),
  QKV_BACKWARD_INPUT(step -> step.qkv().backwardInput()),
  QKV_BACKWARD_WEIGHT(step -> step.qkv().backwardWeight()),
  ATTENTION_OUT(step -> step.attentionOut().forward()),
  ATTENTION_OUT_BACKWARD_INPUT(step -> step.attentionOut().backwardInput()),
  ATTENTION_OUT_BACKWARD_WEIGHT(step -> step.attentionOut().backwardWeight()),
  UP(step -> step.up().forward()),
  UP_BACKWARD_INPUT(step -> step.up().backwardInput()),
  UP_BACKWARD_WEIGHT(step -> step.up().backwardWeight()),
  DOWN(step -> step.down().forward()),
  DOWN_BACKWARD_INPUT(step -> step.down().backwardInput()),
  DOWN_BACKWARD_WEIGHT(step -> step.down().backwardWeight()),
  HEAD(step -> step.head().forward()),
  HEAD_BACKWARD_INPUT(step -> step.head().backwardInput()),
  HEAD_BACKWARD_WEIGHT(step -> step.head().backwardWeight()),
  CAST(
      step -> {
        DType other = step.dtype == DType.F32 ? DType.BF16 : DType.F32;
        Tensor x = step.activation("x");
        Tensor y = step.zeros("y", other, step.tokens, step.hidden);
        return new OpCall(() -> step.backend.cast(y, x), x.sizeBytes() + y.sizeBytes(), 0);
      }),
  EMBEDDING_FORWARD(
      step -> {
        Tensor table = step.random("table", step.config.vocabSize(), step.hidden);
        Tensor y = step.activation("y");
        DeviceBatch batch = step.batch;
        return new OpCall(
            () ->
                Embedding.forward(
                    step.backend, y, table, null, batch.tokenIds(), batch.positions(), 1),
            2 * y.sizeBytes(),
            0);
      }),
  EMBEDDING_BACKWARD(
      step -> {
        Tensor dTable = step.zeros("dTable", DType.F32, step.config.vocabSize(), step.hidden);
        Tensor dY = step.activation("dY");
        DeviceBatch batch = step.batch;
        return new OpCall(
            () ->
                Embedding.backward(
                    step.backend, dTable, null, dY, batch.tokenIds(), batch.positions(), 1),
            dY.sizeBytes() + 2L * Float.BYTES * step.tokens * step.hidden,
            0);
      }),
  RMSNORM_FORWARD(
      step -> {
        Tensor x = step.activation("x");
        Tensor delta = step.activation("delta");
        Tensor sum = step.activation("sum");
        Tensor y = step.activation("y");
        Tensor rstd = step.zeros("rstd", DType.F32, step.tokens);
        Tensor weight = step.random("weight", step.hidden);
        return new OpCall(
            () -> RmsNorm.forward(step.backend, y, sum, rstd, x, delta, weight, OpStep.EPSILON, 0),
            4 * x.sizeBytes(),
            0);
      }),
  RMSNORM_BACKWARD(
      step -> {
        Tensor x = step.activation("x");
        Tensor dY = step.activation("dY");
        Tensor dX = step.activation("dX");
        Tensor dResidual = step.activation("dResidual");
        Tensor rstd = step.random("rstd", DType.F32, step.tokens);
        Tensor weight = step.random("weight", step.hidden);
        Tensor dWeight = step.zeros("dWeight", DType.F32, step.hidden);
        return new OpCall(
            () -> RmsNorm.backward(step.backend, dX, dWeight, dY, x, weight, rstd, dResidual, 0),
            4 * x.sizeBytes(),
            0);
      }),
  LAYERNORM_FORWARD(
      step -> {
        Tensor x = step.activation("x");
        Tensor delta = step.activation("delta");
        Tensor sum = step.activation("sum");
        Tensor y = step.activation("y");
        Tensor mean = step.zeros("mean", DType.F32, step.tokens);
        Tensor rstd = step.zeros("rstd", DType.F32, step.tokens);
        Tensor weight = step.random("weight", step.hidden);
        Tensor bias = step.random("bias", step.hidden);
        return new OpCall(
            () ->
                LayerNorm.forward(
                    step.backend, y, sum, mean, rstd, x, delta, weight, bias, OpStep.EPSILON),
            4 * x.sizeBytes(),
            0);
      }),
  LAYERNORM_BACKWARD(
      step -> {
        Tensor x = step.activation("x");
        Tensor dY = step.activation("dY");
        Tensor dX = step.activation("dX");
        Tensor dResidual = step.activation("dResidual");
        Tensor mean = step.random("mean", DType.F32, step.tokens);
        Tensor rstd = step.random("rstd", DType.F32, step.tokens);
        Tensor weight = step.random("weight", step.hidden);
        Tensor dWeight = step.zeros("dWeight", DType.F32, step.hidden);
        Tensor dBias = step.zeros("dBias", DType.F32, step.hidden);
        return new OpCall(
            () ->
                LayerNorm.backward(
                    step.backend, dX, dWeight, dBias, dY, x, weight, mean, rstd, dResidual),
            4 * x.sizeBytes(),
            0);
      }),
  BIAS_BACKWARD(
      step -> {
        Tensor dY = step.activation("dY");
        Tensor dBias = step.zeros("dBias", DType.F32, step.hidden);
        return new OpCall(() -> Linear.backwardBias(step.backend, dBias, dY), dY.sizeBytes(), 0);
      }),
  ROPE_FORWARD(
      step -> {
        OpStep.Heads heads = step.heads();
        DeviceBatch batch = step.batch;
        return new OpCall(
            () ->
                Rope.forward(
                    step.backend,
                    heads.q,
                    heads.keys,
                    heads.values,
                    heads.q,
                    heads.k,
                    heads.v,
                    heads.cos,
                    heads.sin,
                    batch.positions(),
                    batch.keyRows(),
                    batch.keyCopyRows()),
            2 * (heads.q.sizeBytes() + heads.keys.sizeBytes() + heads.values.sizeBytes()),
            0);
      }),
  ROPE_BACKWARD(
      step -> {
        OpStep.Heads heads = step.heads();
        DeviceBatch batch = step.batch;
        return new OpCall(
            () ->
                Rope.backward(
                    step.backend,
                    heads.q,
                    heads.k,
                    heads.v,
                    heads.q,
                    heads.keys,
                    heads.values,
                    heads.cos,
                    heads.sin,
                    batch.positions(),
                    batch.keyRows(),
                    batch.keyCopyRows()),
            2 * (heads.q.sizeBytes() + heads.keys.sizeBytes() + heads.values.sizeBytes()),
            0);
      }),
  ATTENTION_FORWARD(
      step -> {
        OpStep.Heads heads = step.heads();
        return new OpCall(
            () -> heads.attend(),
            2 * heads.q.sizeBytes() + heads.keys.sizeBytes() + heads.values.sizeBytes(),
            step.attentionFlops());
      }),
  ATTENTION_BACKWARD(
      step -> {
        OpStep.Heads heads = step.heads();
        heads.attend();
        Tensor dOut = step.random("dOut", step.tokens, heads.out.dim(1));
        Tensor dQ = heads.dQuery();
        Tensor dK = step.random("dK", heads.keys.shape());
        Tensor dV = step.random("dV", heads.values.shape());
        return new OpCall(
            () ->
                Attention.backward(
                    step.backend,
                    dQ,
                    dK,
                    dV,
                    dOut,
                    heads.out,
                    heads.lse,
                    heads.q,
                    heads.keys,
                    heads.values,
                    step.batch.segments(),
                    step.attention()),
            4 * heads.q.sizeBytes() + 2 * (heads.keys.sizeBytes() + heads.values.sizeBytes()),
            2.5 * step.attentionFlops());
      }),
  SWIGLU_FORWARD(
      step -> {
        Tensor gateUp = step.random("gateUp", step.tokens, 2L * step.width);
        Tensor y = step.random("y", step.tokens, step.width);
        return new OpCall(
            () -> Swiglu.forward(step.backend, y, gateUp, Activation.SILU), 3 * y.sizeBytes(), 0);
      }),
  SWIGLU_BACKWARD(
      step -> {
        Tensor gateUp = step.random("gateUp", step.tokens, 2L * step.width);
        Tensor dGateUp = step.random("dGateUp", step.tokens, 2L * step.width);
        Tensor dY = step.random("dY", step.tokens, step.width);
        return new OpCall(
            () -> Swiglu.backward(step.backend, dGateUp, null, dY, gateUp, Activation.SILU),
            5 * dY.sizeBytes(),
            0);
      }),
  GELU_FORWARD(
      step -> {
        Tensor x = step.random("x", step.tokens, step.width);
        Tensor y = step.random("y", step.tokens, step.width);
        return new OpCall(() -> Gelu.forward(step.backend, y, x), 2 * x.sizeBytes(), 0);
      }),
  GELU_BACKWARD(
      step -> {
        Tensor x = step.random("x", step.tokens, step.width);
        Tensor dX = step.random("dX", step.tokens, step.width);
        Tensor dY = step.random("dY", step.tokens, step.width);
        return new OpCall(() -> Gelu.backward(step.backend, dX, null, dY, x), 3 * x.sizeBytes(), 0);
      }),
  RESIDUAL(
      step -> {
        Tensor x = step.activation("x");
        Tensor delta = step.activation("delta");
        Tensor y = step.activation("y");
        return new OpCall(() -> Residual.forward(step.backend, y, x, delta), 3 * x.sizeBytes(), 0);
      }),
  GATHER_FORWARD(
      step -> {
        Tensor x = step.activation("x");
        Tensor y = step.random("y", step.rows, step.hidden);
        return new OpCall(
            () -> Gather.forward(step.backend, y, x, step.batch.rows()), 2 * y.sizeBytes(), 0);
      }),
  GATHER_BACKWARD(
      step -> {
        Tensor dX = step.activation("dX");
        Tensor dY = step.random("dY", step.rows, step.hidden);
        return new OpCall(
            () -> Gather.backward(step.backend, dX, dY, step.batch.rows()),
            dX.sizeBytes() + dY.sizeBytes(),
            0);
      }),
  LOGPROB_FORWARD(
      step -> {
        OpStep.Logits logits = step.logits();
        return new OpCall(() -> logits.score(), logits.logits.sizeBytes(), 0);
      }),
  LOGPROB_BACKWARD(
      step -> {
        OpStep.Logits logits = step.logits();
        logits.score();
        Tensor dLogits = step.zeros("dLogits", step.dtype, logits.logits.shape());
        Tensor dLogProb = step.random("dLogProb", DType.F32, logits.lse.dim(0));
        return new OpCall(
            () ->
                LogProb.backward(
                    step.backend,
                    dLogits,
                    logits.logits,
                    logits.lse,
                    dLogProb,
                    logits.predictionBegin,
                    logits.targets,
                    0),
            logits.logits.sizeBytes() + dLogits.sizeBytes(),
            0);
      }),
  PREFERENCE(
      step -> {
        PackedBatch packed = step.batch.host();
        int pairs = packed.numSequences();
        int predictions = packed.numPredictions();
        Tensor loss = step.zeros("loss", DType.F32, pairs);
        Tensor sums = step.zeros("sums", DType.F32, pairs, 4);
        Tensor dLogProb = step.zeros("dLogProb", DType.F32, predictions);
        Tensor logProb = step.random("logProb", DType.F32, predictions);
        Tensor reference = step.random("reference", DType.F32, predictions);
        Tensor scale = step.random("scale", DType.F32, pairs);
        Tensor groups = step.tensors.integers("groupBegin", 0, pairs);
        PreferenceOptions options =
            new PreferenceOptions(
                List.of(new PreferenceOptions.WeightedLoss(PreferenceLoss.SIGMOID, 1)),
                0.1f,
                0,
                0,
                0,
                PreferenceDivergence.REVERSE_KL,
                0,
                1,
                false,
                false);
        return new OpCall(
            () ->
                Preference.forward(
                    step.backend,
                    loss,
                    sums,
                    dLogProb,
                    logProb,
                    reference,
                    null,
                    step.batch.answerBegin(),
                    groups,
                    scale,
                    scale,
                    options),
            3L * predictions * Float.BYTES,
            0);
      }),
  GRADNORM(
      step -> {
        OpStep.Weights w = step.weights();
        return new OpCall(
            () -> GradNorm.forward(step.backend, w.normAndScale, w.gradient, 1),
            w.gradient.sizeBytes(),
            0);
      }),
  ADAMW(
      step -> {
        OpStep.Weights w = step.weights();
        Tensor first = step.zeros("firstMoment", DType.F32, w.count);
        Tensor second = step.zeros("secondMoment", DType.F32, w.count);
        return new OpCall(
            () ->
                AdamW.step(
                    step.backend,
                    w.weight,
                    w.remainder,
                    first,
                    second,
                    w.gradient,
                    w.scale,
                    w.count,
                    OpStep.ADAMW),
            2 * w.masterBytes() + 5 * w.gradient.sizeBytes(),
            0);
      }),
  ADAMW_8BIT(
      step -> {
        OpStep.Weights w = step.weights();
        Tensor first = step.zeros("firstMoment", DType.U8, w.count);
        Tensor second = step.zeros("secondMoment", DType.U8, w.count);
        Tensor firstScale = step.zeros("firstScale", DType.F32, AdamW8bit.scales(w.count));
        Tensor secondScale = step.zeros("secondScale", DType.F32, AdamW8bit.scales(w.count));
        return new OpCall(
            () ->
                AdamW8bit.step(
                    step.backend,
                    w.weight,
                    w.remainder,
                    first,
                    second,
                    firstScale,
                    secondScale,
                    w.gradient,
                    w.scale,
                    w.count,
                    OpStep.ADAMW),
            2 * w.masterBytes()
                + 2 * (first.sizeBytes() + second.sizeBytes())
                + w.gradient.sizeBytes(),
            0);
      }),
  SGD(
      step -> {
        OpStep.Weights w = step.weights();
        SgdStep numbers = new SgdStep(1e-6, 0, 0, false);
        return new OpCall(
            () ->
                Sgd.step(
                    step.backend,
                    w.weight,
                    w.remainder,
                    null,
                    w.gradient,
                    w.scale,
                    w.count,
                    numbers),
            2 * w.masterBytes() + w.gradient.sizeBytes(),
            0);
      }),
  RMSPROP(
      step -> {
        OpStep.Weights w = step.weights();
        Tensor square = step.zeros("squareAverage", DType.F32, w.count);
        RmsPropStep numbers = new RmsPropStep(1e-6, 0.99, 1e-8, 0, 0);
        return new OpCall(
            () ->
                RmsProp.step(
                    step.backend,
                    w.weight,
                    w.remainder,
                    square,
                    null,
                    w.gradient,
                    w.scale,
                    w.count,
                    numbers),
            2 * w.masterBytes() + 3 * w.gradient.sizeBytes(),
            0);
      }),
  MIX(
      step -> {
        OpStep.Weights w = step.weights();
        Tensor other = step.random("other", w.count);
        return new OpCall(
            () -> Mix.apply(step.backend, other, w.weight, 0.5), 3 * other.sizeBytes(), 0);
      }),
  MASTER_SPLIT(
      step -> {
        OpStep.Weights w = step.weights();
        return new OpCall(
            () -> Master.split(step.backend, w.weight, w.remainder, w.gradient),
            w.masterBytes() + w.gradient.sizeBytes(),
            0);
      }),
  MASTER_JOIN(
      step -> {
        OpStep.Weights w = step.weights();
        return new OpCall(
            () -> Master.join(step.backend, w.gradient, w.weight, w.remainder),
            w.masterBytes() + w.gradient.sizeBytes(),
            0);
      });

  private final Function<OpStep, OpCall> preparation;

  OpPass(Function<OpStep, OpCall> preparation) {
    this.preparation = preparation;
  }

  /** Allocates and fills what the pass reads and writes; the tensors are the step's. */
  public OpCall prepare(OpStep step) {
    return preparation.apply(step);
  }

  /** The name as it is printed. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
