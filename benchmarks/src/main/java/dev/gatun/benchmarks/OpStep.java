package dev.gatun.benchmarks;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.BatchShape;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.Flops;
import dev.gatun.model.PackedBatch;
import dev.gatun.model.RopeTable;
import dev.gatun.op.AdamWStep;
import dev.gatun.op.Attention;
import dev.gatun.op.AttentionOptions;
import dev.gatun.op.LogProb;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The sizes of a training step of a model, and tensors of these sizes: {@value #PAIRS} pairs of a
 * prompt of {@value #PROMPT} tokens and two answers of {@value #ANSWER}.
 */
final class OpStep {
  static final int PAIRS = 4;
  static final int PROMPT = 180;
  static final int ANSWER = 130;

  /** Elements of a tensor that no cache holds. */
  static final long MEMORY_ELEMENTS = 1L << 26;

  /** Of a norm. */
  static final float EPSILON = 1e-5f;

  static final AdamWStep ADAMW = new AdamWStep(1e-6, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 0);

  private static final long WEIGHTS = 1L << 24;
  private static final int LOGIT_ROWS = 512;
  private static final long SEED = 7;

  final OpTensors tensors;
  final Backend backend;
  final ModelConfig config;
  final DType dtype;
  final DeviceBatch batch;
  final long tokens;
  final long rows;
  final long hidden;
  final long width;

  OpStep(OpTensors tensors, ModelConfig config, DType dtype) {
    this.tensors = tensors;
    this.backend = tensors.backend();
    this.config = config;
    this.dtype = dtype;
    SplittableRandom random = new SplittableRandom(SEED);
    PackedBatch packed =
        PackedBatch.of(
            IntStream.range(0, PAIRS)
                .mapToObj(
                    _ ->
                        new PackedBatch.Sequence(
                            ids(random, PROMPT), List.of(ids(random, ANSWER), ids(random, ANSWER))))
                .toList());
    BatchShape shape = BatchShape.of(packed, LOGIT_ROWS);
    Slab planner = Slab.planner();
    DeviceBatch.plan(planner, shape);
    batch =
        DeviceBatch.upload(
            backend, new Slab(tensors.buffer("batch", planner.highWaterBytes())), packed);
    tokens = packed.numTokens();
    rows = packed.numRows();
    hidden = config.hiddenSize();
    width = config.intermediateSize();
    backend.reserveWorkspace(
        shape.keyRows(), Math.max(config.vocabSize(), 2 * config.intermediateSize()));
  }

  private int[] ids(SplittableRandom random, int length) {
    return random.ints(length, 0, config.vocabSize()).toArray();
  }

  Tensor activation(String name) {
    return random(name, tokens, hidden);
  }

  /** Random numbers of the step's storage type. */
  Tensor random(String name, long... shape) {
    return random(name, dtype, shape);
  }

  Tensor random(String name, DType type, long... shape) {
    return tensors.uniform(name, type, shape);
  }

  Tensor zeros(String name, DType type, long... shape) {
    return tensors.zeros(name, type, shape);
  }

  /** y = x of so many elements, with all threads. */
  OpPass.Call copy(long elements) {
    Tensor x = zeros("x", dtype, elements);
    Tensor y = zeros("y", dtype, elements);
    return new OpPass.Call(() -> backend.cast(y, x), 2.0 * x.sizeBytes(), 0);
  }

  AttentionOptions attention() {
    return new AttentionOptions(config.attentionScale(), 0, 0);
  }

  /** Of the forward pass of one layer. */
  double attentionFlops() {
    return Flops.forward(config, batch.host()).attention() / config.numLayers();
  }

  Heads heads() {
    return new Heads();
  }

  Logits logits() {
    return new Logits();
  }

  Weights weights() {
    return new Weights();
  }

  /** Queries, keys and values before rope and as attention reads them. */
  final class Heads {
    final Tensor q = random("q", tokens, config.numHeads(), config.headDim());
    final Tensor k = random("k", tokens, config.numKeyValueHeads(), config.headDim());
    final Tensor v = random("v", tokens, config.numKeyValueHeads(), config.headDim());
    final Tensor keys = keyRows("keys");
    final Tensor values = keyRows("values");
    final Tensor out = random("out", tokens, (long) config.numHeads() * config.headDim());
    final Tensor lse = zeros("lse", DType.F32, tokens, config.numHeads());
    final Tensor cos;
    final Tensor sin;

    Heads() {
      RopeTable table = RopeTable.of(config, PROMPT + ANSWER);
      cos = zeros("cos", DType.F32, table.positions(), table.pairs());
      sin = zeros("sin", DType.F32, table.positions(), table.pairs());
      backend.upload(cos, table.cos());
      backend.upload(sin, table.sin());
    }

    private Tensor keyRows(String name) {
      return random(name, batch.host().numKeyRows(), config.numKeyValueHeads(), config.headDim());
    }

    void attend() {
      Attention.forward(backend, out, lse, q, keys, values, batch.segments(), attention());
    }
  }

  /** A chunk of logits and what they are scored with: one prediction a row. */
  final class Logits {
    final Tensor logits = random("logits", DType.F32, LOGIT_ROWS, config.vocabSize());
    final Tensor lse = zeros("lse", DType.F32, LOGIT_ROWS);
    final Tensor predictionBegin =
        tensors.integers("predictionBegin", IntStream.rangeClosed(0, LOGIT_ROWS).toArray());
    final Tensor targets =
        tensors.integers(
            "targets", IntStream.range(0, LOGIT_ROWS).map(i -> i % config.vocabSize()).toArray());
    private final Tensor entropy = zeros("entropy", DType.F32, LOGIT_ROWS);
    private final Tensor mean = zeros("mean", DType.F32, LOGIT_ROWS);
    private final Tensor argmax = zeros("argmax", DType.I32, LOGIT_ROWS);
    private final Tensor logProb = zeros("logProb", DType.F32, LOGIT_ROWS);

    void score() {
      LogProb.forward(
          backend, logProb, lse, entropy, argmax, mean, null, logits, predictionBegin, targets, 0);
    }
  }

  /** Weights as an optimizer has them: bf16 ones with the rest of their masters. */
  final class Weights {
    final long count = WEIGHTS;
    final Tensor weight = random("weight", count);
    final @Nullable Tensor remainder =
        dtype == DType.BF16 ? zeros("remainder", DType.U16, count) : null;
    final Tensor gradient = random("gradient", DType.F32, count);
    final Tensor scale = random("scale", DType.F32, 1);
    final Tensor normAndScale = zeros("normAndScale", DType.F32, 2);

    /** Of weights and remainders: 4 a weight. */
    double masterBytes() {
      return (double) Float.BYTES * count;
    }
  }
}
