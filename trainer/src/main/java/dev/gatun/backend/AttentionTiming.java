package dev.gatun.backend;

import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Tensors of a full pack of a run, on which providers of attention are timed. */
final class AttentionTiming implements AutoCloseable {
  private static final int WARM_UPS = 2;
  private static final int REPETITIONS = 5;
  private static final long SEED = 1;

  private final AttentionRun run;
  private final MemorySegment stream;
  private final Slab slab;
  private final int[] hostSegments;
  private final Tensor segments;
  private final Tensor q;
  private final Tensor k;
  private final Tensor v;
  private final Tensor out;
  private final Tensor lse;
  private final Tensor dOut;
  private final Tensor dQ;
  private final Tensor dK;
  private final Tensor dV;

  AttentionTiming(Backend backend, MemorySegment stream, AttentionRun run) {
    this.run = run;
    this.stream = stream;
    this.hostSegments = segments(run);
    Slab planner = Slab.planner();
    Tensor[] _ = tensors(planner);
    slab = new Slab(backend.allocate("attention timing", planner.highWaterBytes()));
    Tensor[] tensors = tensors(slab);
    segments = tensors[0];
    q = tensors[1].columns("q", 0, run.heads(), run.headDim());
    k = tensors[2];
    v = tensors[3];
    out = tensors[4];
    lse = tensors[5];
    dOut = tensors[6];
    dQ = tensors[7].columns("dQ", 0, run.heads(), run.headDim());
    dK = tensors[8];
    dV = tensors[9];
    backend.upload(segments, hostSegments);
    for (int i : new int[] {1, 2, 3, 6}) {
      uploadRandom(backend, tensors[i]);
    }
  }

  /**
   * A pack as a run has them: its tokens shared out among its segments, each of which has as many
   * keys as there are rows for.
   */
  static int[] segments(AttentionRun run) {
    int queries = Math.clamp(run.tokens() / run.segments(), 1, run.longestKeys());
    int keys = Math.clamp(run.keyRows() / run.segments(), queries, run.longestKeys());
    int[] fields = new int[4 * run.segments()];
    for (int s = 0; s < run.segments(); s++) {
      fields[4 * s] = s * queries;
      fields[4 * s + 1] = queries;
      fields[4 * s + 2] = s * keys;
      fields[4 * s + 3] = keys;
    }
    return fields;
  }

  private Tensor[] tensors(Slab from) {
    DType dtype = run.dtype();
    int rows = Math.max(run.tokens(), run.segments());
    int keyRows =
        Math.max(
            run.keyRows(),
            hostSegments[hostSegments.length - 2] + hostSegments[hostSegments.length - 1]);
    long width = (long) run.heads() * run.headDim();
    return new Tensor[] {
      from.allocate("segments", DType.I32, run.segments(), 4),
      from.allocate("q rows", dtype, rows, run.qStride()),
      from.allocate("k", dtype, keyRows, run.kvHeads(), run.headDim()),
      from.allocate("v", dtype, keyRows, run.kvHeads(), run.headDim()),
      from.allocate("out", dtype, rows, width),
      from.allocate("lse", DType.F32, rows, run.heads()),
      from.allocate("dOut", dtype, rows, width),
      from.allocate("dQ rows", dtype, rows, run.dQStride()),
      from.allocate("dK", dtype, keyRows, run.kvHeads(), run.headDim()),
      from.allocate("dV", dtype, keyRows, run.kvHeads(), run.headDim())
    };
  }

  /** Values of [-1, 1): zeros would need less power, and so run at higher clocks. */
  private static void uploadRandom(Backend backend, Tensor tensor) {
    try (Arena arena = Arena.ofConfined()) {
      SplittableRandom random = new SplittableRandom(SEED);
      MemorySegment values = arena.allocate(tensor.sizeBytes(), Float.BYTES);
      for (long i = 0; i < tensor.elementCount(); i++) {
        float value = 2 * random.nextFloat() - 1;
        if (tensor.dtype() == DType.F32) {
          values.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
        } else {
          values.setAtIndex(
              ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
        }
      }
      backend.upload(tensor, values);
    }
  }

  /** Milliseconds of one forward and one backward pass: the fastest of some. */
  float milliseconds(AttentionProvider provider) {
    float fastest = Float.POSITIVE_INFINITY;
    try (CudaEvent begin = CudaEvent.timed();
        CudaEvent end = CudaEvent.timed()) {
      for (int i = -WARM_UPS; i < REPETITIONS; i++) {
        begin.record(stream);
        provider.forward(
            out, lse, q, k, v, segments, hostSegments, run.scale(), run.softcap(), run.window());
        provider.backward(
            dQ,
            dK,
            dV,
            dOut,
            out,
            lse,
            q,
            k,
            v,
            segments,
            hostSegments,
            run.scale(),
            run.softcap(),
            run.window());
        end.record(stream);
        end.await();
        if (i >= 0) {
          fastest = Math.min(fastest, end.millisecondsSince(begin));
        }
      }
    }
    return fastest;
  }

  @Override
  public void close() {
    slab.close();
  }
}
