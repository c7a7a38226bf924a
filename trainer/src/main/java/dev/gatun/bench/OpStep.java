package dev.gatun.bench;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.backend.Transpose;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.BatchShape;
import dev.gatun.model.DeviceBatch;
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

/** The sizes of a training step of a model, and tensors of these sizes. */
public final class OpStep {
  /** Elements of a tensor that no cache holds. */
  static final long MEMORY_ELEMENTS = 1L << 26;

  /** Of a norm. */
  static final float EPSILON = 1e-5f;

  static final AdamWStep ADAMW = new AdamWStep(1e-6, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 0);

  private static final long WEIGHTS = 1L << 24;
  private static final long SEED = 7;

  final OpTensors tensors;
  final Backend backend;
  final ModelConfig config;
  final DType dtype;
  final DeviceBatch batch;
  private final OpSizes sizes;
  private final BatchShape shape;
  private final long logitRows;
  final long tokens;
  final long rows;
  final long hidden;
  final long width;

  /** A step whose tensors are made in {@code tensors}, and released with them. */
  public OpStep(OpTensors tensors, ModelConfig config, DType dtype, OpSizes sizes) {
    this.tensors = tensors;
    this.backend = tensors.backend();
    this.config = config;
    this.dtype = dtype;
    this.sizes = sizes;
    SplittableRandom random = new SplittableRandom(SEED);
    PackedBatch packed =
        PackedBatch.of(
            IntStream.range(0, sizes.pairs())
                .mapToObj(
                    _ ->
                        new PackedBatch.Sequence(
                            ids(random, sizes.promptTokens()),
                            List.of(
                                ids(random, sizes.answerTokens()),
                                ids(random, sizes.answerTokens()))))
                .toList());
    shape = BatchShape.of(packed, sizes.logitRows());
    Slab planner = Slab.planner();
    DeviceBatch.plan(planner, shape);
    batch =
        DeviceBatch.upload(
            backend, new Slab(tensors.buffer("batch", planner.highWaterBytes())), packed);
    tokens = packed.numTokens();
    rows = packed.numRows();
    logitRows = Math.min(rows, sizes.logitRows());
    hidden = config.hiddenSize();
    width = config.intermediateSize();
    backend.reserveWorkspace(
        shape.keyRows(), Math.max(config.vocabSize(), 2 * config.intermediateSize()));
  }

  /** The largest that the pack of this step needs. */
  public BatchShape shape() {
    return shape;
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
  OpCall copy(long elements) {
    Tensor x = zeros("x", dtype, elements);
    Tensor y = zeros("y", dtype, elements);
    return new OpCall(() -> backend.cast(y, x), 2.0 * x.sizeBytes(), 0);
  }

  AttentionOptions attention() {
    return new AttentionOptions(config.attentionScale(), 0, 0);
  }

  /** Of the forward pass of one layer, in which all tokens are queries: not the last one. */
  double attentionFlops() {
    double first = sizes.promptTokens() + sizes.answerTokens();
    double second = sizes.answerTokens();
    double visible =
        first * (first + 1) / 2 + second * sizes.promptTokens() + second * (second + 1) / 2;
    return 4.0 * config.numHeads() * config.headDim() * sizes.pairs() * visible;
  }

  Heads heads() {
    return new Heads();
  }

  /** Queries, keys and values of all heads in one product. */
  Linear qkv() {
    return new Linear(tokens, hidden, qkvWidth(), dtype);
  }

  Linear attentionOut() {
    return new Linear(tokens, (long) config.numHeads() * config.headDim(), hidden, dtype);
  }

  /** Gate and up in one product, where the model has a gate. */
  Linear up() {
    return new Linear(
        tokens, hidden, config.family() == ModelConfig.Family.GPT2 ? width : 2 * width, dtype);
  }

  Linear down() {
    return new Linear(tokens, width, hidden, dtype);
  }

  /** Logits of as many predictions as are made at a time; they are f32 always. */
  Linear head() {
    return new Linear(logitRows, hidden, config.vocabSize(), DType.F32);
  }

  private long qkvWidth() {
    return (config.numHeads() + 2L * config.numKeyValueHeads()) * config.headDim();
  }

  Logits logits() {
    return new Logits();
  }

  Weights weights() {
    return new Weights();
  }

  /** Queries, keys and values before rope and as attention reads them. */
  final class Heads {
    final Tensor q =
        config.qkNorm()
            ? alone("q")
            : random("qkv", tokens, qkvWidth())
                .columns("q", 0, config.numHeads(), config.headDim());
    final Tensor k = random("k", tokens, config.numKeyValueHeads(), config.headDim());
    final Tensor v = random("v", tokens, config.numKeyValueHeads(), config.headDim());
    final Tensor keys = keyRows("keys");
    final Tensor values = keyRows("values");
    final Tensor out = random("out", tokens, (long) config.numHeads() * config.headDim());
    final Tensor lse = zeros("lse", DType.F32, tokens, config.numHeads());
    final Tensor cos;
    final Tensor sin;

    Heads() {
      RopeTable table = RopeTable.of(config, sizes.promptTokens() + sizes.answerTokens());
      cos = zeros("cos", DType.F32, table.positions(), table.pairs());
      sin = zeros("sin", DType.F32, table.positions(), table.pairs());
      backend.upload(cos, table.cos());
      backend.upload(sin, table.sin());
    }

    private Tensor alone(String name) {
      return random(name, tokens, config.numHeads(), config.headDim());
    }

    /** Where the gradient of the queries goes: columns of that of the product. */
    Tensor dQuery() {
      return random("dQkv", tokens, qkvWidth())
          .columns("dQ", 0, config.numHeads(), config.headDim());
    }

    private Tensor keyRows(String name) {
      return random(name, batch.host().numKeyRows(), config.numKeyValueHeads(), config.headDim());
    }

    void attend() {
      Attention.forward(backend, out, lse, q, keys, values, batch.segments(), attention());
    }
  }

  /** x [rows, in], weight [out, in], y = x weight'; y and its gradient of their own type. */
  final class Linear {
    private final Tensor x;
    private final Tensor weight;
    private final long out;
    private final DType type;

    Linear(long rows, long in, long out, DType type) {
      x = random("x", rows, in);
      weight = random("weight", out, in);
      this.out = out;
      this.type = type;
    }

    OpCall forward() {
      Tensor y = zeros("y", type, x.dim(0), out);
      return call(
          y,
          () ->
              backend.matmul(
                  y, x, Transpose.NO, weight, Transpose.YES, null, Accumulate.OVERWRITE));
    }

    OpCall backwardInput() {
      Tensor dY = random("dY", x.dim(0), out);
      Tensor dX = zeros("dX", dtype, x.shape());
      return call(
          dY,
          () ->
              backend.matmul(
                  dX, dY, Transpose.NO, weight, Transpose.NO, null, Accumulate.OVERWRITE));
    }

    /** Adds to a f32 gradient. */
    OpCall backwardWeight() {
      Tensor dY = random("dY", x.dim(0), out);
      Tensor dWeight = zeros("dWeight", DType.F32, weight.shape());
      double flops = 2.0 * x.dim(0) * x.dim(1) * out;
      return new OpCall(
          () -> backend.matmul(dWeight, dY, Transpose.YES, x, Transpose.NO, null, Accumulate.ADD),
          x.sizeBytes() + dY.sizeBytes() + 2.0 * dWeight.sizeBytes(),
          flops);
    }

    private OpCall call(Tensor y, Runnable run) {
      return new OpCall(
          run, x.sizeBytes() + weight.sizeBytes() + y.sizeBytes(), 2.0 * x.dim(0) * x.dim(1) * out);
    }
  }

  /** A chunk of logits and what they are scored with: one prediction a row. */
  final class Logits {
    final Tensor logits = random("logits", DType.F32, logitRows, config.vocabSize());
    final Tensor lse = zeros("lse", DType.F32, logitRows);
    final Tensor predictionBegin =
        tensors.integers(
            "predictionBegin", IntStream.rangeClosed(0, Math.toIntExact(logitRows)).toArray());
    final Tensor targets =
        tensors.integers(
            "targets",
            IntStream.range(0, Math.toIntExact(logitRows))
                .map(i -> i % config.vocabSize())
                .toArray());
    private final Tensor entropy = zeros("entropy", DType.F32, logitRows);
    private final Tensor mean = zeros("mean", DType.F32, logitRows);
    private final Tensor argmax = zeros("argmax", DType.I32, logitRows);
    private final Tensor logProb = zeros("logProb", DType.F32, logitRows);

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
