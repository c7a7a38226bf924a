package dev.gatun.train;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudnnUnsupportedException;
import dev.gatun.bench.OpCall;
import dev.gatun.bench.OpPass;
import dev.gatun.bench.OpSizes;
import dev.gatun.bench.OpStep;
import dev.gatun.bench.OpTensors;
import dev.gatun.hf.ModelConfig;
import dev.gatun.tensor.DType;
import dev.gatun.train.BenchmarkReport.Spread;
import dev.gatun.train.OpsReport.Op;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Measures every op with the sizes of a training step, one at a time, beside what the device can
 * do: a copy that no cache holds, and large matrix products.
 */
public final class OpsBenchmark {
  /** A round repeats an op for at least this long. */
  private static final long ROUND_NANOS = TimeUnit.MILLISECONDS.toNanos(30);

  /** Enqueued before a wait: a GPU is not to run dry between two calls. */
  private static final int MOST_CALLS = 1000;

  private final BenchmarkConfig config;
  private final Backend backend;
  private final ModelConfig model;
  private final Precision precision;
  private final DType dtype;
  private final OpSizes sizes;
  private final Consumer<String> notes;
  private final Consumer<Op> progress;
  private double copyBytesPerSecond = Double.NaN;
  private double peakFlopsPerSecond = Double.NaN;

  private OpsBenchmark(
      BenchmarkConfig config,
      Backend backend,
      Precision precision,
      ModelConfig model,
      Consumer<String> notes,
      Consumer<Op> progress) {
    this.config = config;
    this.backend = backend;
    this.precision = precision;
    this.model = model;
    this.notes = notes;
    this.progress = progress;
    dtype = Policy.dtype(precision);
    sizes =
        new OpSizes(
            config.pairsPerStep(),
            middle(config.promptTokens()),
            middle(config.answerTokens()),
            TrainingSetup.Portion.of(backend).logitRows(model));
  }

  /**
   * Takes lengths at the middle of their ranges, and all pairs of a step as one pack.
   *
   * @param notes told what computes
   * @param progress told each op when it was measured
   */
  public static OpsReport run(
      BenchmarkConfig config, Consumer<String> notes, Consumer<Op> progress) {
    OpenDevice device = config.device().open(config.deviceOptions());
    try (Backend backend = device.backend();
        StartModel model = config.model().open(config.seed())) {
      ResolvedPrecision precision = config.dtype().on(backend);
      device.notes().forEach(notes);
      notes.accept("dtype: " + precision);
      return new OpsBenchmark(
              config, backend, precision.precision(), model.config(), notes, progress)
          .measure();
    }
  }

  private OpsReport measure() {
    peakFlopsPerSecond = MatmulCeiling.measureThoroughly(backend, dtype);
    List<Op> ops = new ArrayList<>();
    long tokens = 0;
    for (OpPass pass : OpPass.values()) {
      for (AttentionImplementation attention : implementations(pass)) {
        try (OpTensors tensors = new OpTensors(backend)) {
          OpStep step = new OpStep(tensors, model, dtype, sizes);
          tokens = step.shape().tokens();
          if (!plan(pass, attention, step)) {
            continue;
          }
          Op op = time(name(pass, attention), pass.prepare(step));
          progress.accept(op);
          ops.add(op);
        }
      }
    }
    return new OpsReport(
        config.model().title(),
        precision,
        tokens,
        backend.description(),
        copyBytesPerSecond,
        peakFlopsPerSecond,
        backend.peakBytes(),
        ops);
  }

  private static boolean isAttention(OpPass pass) {
    return pass == OpPass.ATTENTION_FORWARD || pass == OpPass.ATTENTION_BACKWARD;
  }

  /** Attention is measured with everybody who may compute it. */
  private List<AttentionImplementation> implementations(OpPass pass) {
    return switch (backend) {
      case CudaBackend _ when isAttention(pass) ->
          List.of(AttentionImplementation.GATUN, AttentionImplementation.CUDNN);
      case CudaBackend _, CpuBackend _ -> List.of(AttentionImplementation.GATUN);
    };
  }

  /** Whether this implementation computes the attention of the step. */
  private boolean plan(OpPass pass, AttentionImplementation implementation, OpStep step) {
    if (!isAttention(pass)) {
      return true;
    }
    try {
      var _ =
          backend.planAttention(
              implementation, TrainingSetup.attentionRun(model, dtype, step.shape()));
      return true;
    } catch (CudnnUnsupportedException e) {
      notes.accept("%s with %s: %s".formatted(pass, implementation, e.getMessage()));
      return false;
    }
  }

  private static String name(OpPass pass, AttentionImplementation attention) {
    return attention == AttentionImplementation.CUDNN ? pass + "_" + attention : pass.toString();
  }

  private Op time(String name, OpCall call) {
    // The first call makes plans and finds memory; the second tells how many fill a round.
    var _ = nanos(call, 1);
    long once = Math.max(1, nanos(call, 1));
    int calls = Math.clamp(ROUND_NANOS / once, 1, MOST_CALLS);
    double[] seconds =
        IntStream.range(0, config.rounds())
            .mapToDouble(_ -> 1e-9 * nanos(call, calls) / calls)
            .toArray();
    Spread spread = Spread.of(Arrays.stream(seconds));
    double bytesPerSecond = call.bytes() / spread.median();
    if (name.equals(OpPass.COPY_MEMORY.toString())) { // the first
      copyBytesPerSecond = bytesPerSecond;
    }
    return new Op(
        name,
        spread,
        call.bytes(),
        call.flops(),
        bytesPerSecond / copyBytesPerSecond,
        call.flops() / spread.median() / peakFlopsPerSecond);
  }

  private long nanos(OpCall call, int calls) {
    backend.synchronize();
    long begin = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      call.run().run();
    }
    backend.synchronize();
    return System.nanoTime() - begin;
  }

  private static int middle(LengthRange range) {
    return (range.shortest() + range.longest()) / 2;
  }
}
