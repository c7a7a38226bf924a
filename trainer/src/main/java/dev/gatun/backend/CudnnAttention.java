package dev.gatun.backend;

import dev.gatun.backend.CudnnAttentionGraph.Role;
import dev.gatun.backend.CudnnAttentionShape.Gradients;
import dev.gatun.bindings.cudnn.Cudnn;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Attention by cuDNN's fused kernels, for bf16 on sm_90 and sm_100.
 *
 * <p>One forward and one backward plan serve all packs of a run: they are made for the run's
 * bounds, and shorter packs leave segments empty. The backward pass sums in a fixed order where
 * that is possible ({@link Gradients}); its workspace then grows with the segments that it takes at
 * a time, so it takes them in groups.
 *
 * <p>All memory is reserved when the run is planned. Segments are told to cuDNN once for each pack.
 */
final class CudnnAttention implements AttentionProvider, AutoCloseable {
  /** Of the backward pass. */
  static final long MAX_WORKSPACE_BYTES = 2L << 30;

  private static final int MIN_HEAD_DIM = 64;
  private static final long ALIGNMENT_BYTES = 256;

  private final Backend backend;
  private final CudnnPlans plans;
  private final AttentionRun run;
  private final CudnnAttentionShape forwardShape;
  private final CudnnAttentionShape backwardShape;
  private final CudnnExecution forward;
  private final CudnnExecution backward;
  private final CudnnSegments segments;
  private final Arena arena;
  private final MemorySegment handle;
  private final MemorySegment segmentsBlock;
  private final MemorySegment scale;
  private final MemorySegment maskedScore;
  private final MemorySegment one;
  private final Buffer memory;
  private final MemorySegment workspace;
  private final MemorySegment lseScratch;
  private final MemorySegment rowSum;
  private final MemorySegment dQSum;
  private final MemorySegment dKHeads;
  private final MemorySegment dVHeads;
  private final Prepared[] prepared = new Prepared[2];
  private int latest;
  private boolean open = true;

  /**
   * A table of segments on the device.
   *
   * @param hostSegments whose table it is; null: nobody's yet
   */
  private record Prepared(int @Nullable [] hostSegments, Tensor table) {}

  /**
   * Why cuDNN cannot compute the attention of a run, or null if it can.
   *
   * @param computeCapability 90 for sm_90
   * @param gradients how dQ is to be summed
   */
  static @Nullable String unsupported(
      AttentionRun run, int computeCapability, Gradients gradients) {
    if (run.dtype() != DType.BF16) {
      return "it computes in bf16, the run in " + run.dtype();
    }
    if (computeCapability != 90 && computeCapability != 100 && computeCapability != 103) {
      return "its backward pass takes statistics in rows of tokens on sm_90, sm_100 and sm_103, not on sm_"
          + computeCapability;
    }
    int maxHeadDim = computeCapability == 90 ? 256 : 128;
    if (run.headDim() < MIN_HEAD_DIM || run.headDim() > maxHeadDim || run.headDim() % 16 != 0) {
      return "it takes head sizes of %d to %d, multiples of 16, on sm_%d; the model has %d"
          .formatted(MIN_HEAD_DIM, maxHeadDim, computeCapability, run.headDim());
    }
    if (run.softcap() != 0) {
      return "it has no soft-cap of attention scores; the model's is " + run.softcap();
    }
    if (run.window() != 0) {
      return "sliding windows are not built for it; the model has one of " + run.window();
    }
    if (run.qStride() % 8 != 0 || run.dQStride() % 8 != 0) {
      return "it takes rows of multiples of 16 bytes; those of q have %d, of dQ %d elements"
          .formatted(run.qStride(), run.dQStride());
    }
    if (backwardShape(run, computeCapability, gradients) == null) {
      return "sums in a fixed order take a workspace of %d MiB for segments of %d keys, at most %d MiB are given"
          .formatted(
              (scoreBytes(run, longest(run)) * CudnnAttentionShape.MIN_SEGMENTS) >> 20,
              longest(run),
              MAX_WORKSPACE_BYTES >> 20);
    }
    return null;
  }

  /**
   * Makes or loads the plans and reserves the memory.
   *
   * @param backend gives memory
   * @param stream of all work
   * @param plans of the backend's device; stays the caller's
   * @throws CudnnUnsupportedException if cuDNN has no plan
   */
  static CudnnAttention create(
      Backend backend,
      MemorySegment stream,
      CudnnPlans plans,
      int computeCapability,
      AttentionRun run,
      Gradients gradients) {
    String reason = unsupported(run, computeCapability, gradients);
    if (reason != null) {
      throw new CudnnUnsupportedException("cuDNN cannot compute this attention: " + reason);
    }
    Arena arena = Arena.ofShared();
    MemorySegment handle = MemorySegment.NULL;
    try {
      MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
      CudnnStatus.check("cudnnCreate", Cudnn.cudnnCreate(out));
      handle = out.get(ValueLayout.ADDRESS, 0);
      CudnnStatus.check("cudnnSetStream", Cudnn.cudnnSetStream(handle, stream));
      return new CudnnAttention(backend, arena, handle, plans, computeCapability, run, gradients);
    } catch (RuntimeException e) {
      if (!handle.equals(MemorySegment.NULL)) {
        int _ = Cudnn.cudnnDestroy(handle);
      }
      arena.close();
      throw e;
    }
  }

  private CudnnAttention(
      Backend backend,
      Arena arena,
      MemorySegment handle,
      CudnnPlans plans,
      int computeCapability,
      AttentionRun run,
      Gradients gradients) {
    this.backend = backend;
    this.arena = arena;
    this.handle = handle;
    this.plans = plans;
    this.run = run;
    forwardShape = forwardShape(run, gradients);
    backwardShape = Objects.requireNonNull(backwardShape(run, computeCapability, gradients));
    forward = forwardExecution();
    backward = backwardExecution(computeCapability);
    segments =
        new CudnnSegments(
            Math.max(forwardShape.segments(), backwardShape.segments()), forwardShape);

    Layout layout = new Layout();
    long workspaceAt =
        layout.add(Math.max(forward.plan().workspaceBytes(), backward.plan().workspaceBytes()));
    long[] segmentsAt = {layout.add(segments.sizeBytes()), layout.add(segments.sizeBytes())};
    long statisticsBytes = (long) run.tokens() * run.heads() * Float.BYTES;
    long lseAt = layout.add(statisticsBytes);
    long rowSumAt = layout.add(statisticsBytes);
    long dQSumAt =
        layout.add(gradients == Gradients.ATOMIC ? run.tokens() * run.dQStride() * Float.BYTES : 0);
    // Elements are bf16, but cudnn-frontend gives them as much room as f32.
    long headsBytes =
        run.heads() == run.kvHeads()
            ? 0
            : (long) run.keyRows() * run.heads() * run.headDim() * Float.BYTES;
    long dKHeadsAt = layout.add(headsBytes);
    long dVHeadsAt = layout.add(headsBytes);
    segmentsBlock = arena.allocate(segments.sizeBytes(), Long.BYTES);
    scale = arena.allocateFrom(ValueLayout.JAVA_FLOAT, run.scale());
    maskedScore = arena.allocateFrom(ValueLayout.JAVA_FLOAT, Float.NEGATIVE_INFINITY);
    one = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1f);
    memory = backend.allocate("cuDNN attention", layout.sizeBytes);
    workspace = at(workspaceAt);
    for (int i = 0; i < prepared.length; i++) {
      long[] shape = {segments.sizeBytes() / DType.I32.sizeBytes()};
      prepared[i] =
          new Prepared(null, new Tensor("cuDNN segments", DType.I32, shape, memory, segmentsAt[i]));
    }
    lseScratch = at(lseAt);
    rowSum = at(rowSumAt);
    dQSum = at(dQSumAt);
    dKHeads = at(dKHeadsAt);
    dVHeads = at(dVHeadsAt);
  }

  /** The shape of the forward plan of a run. */
  static CudnnAttentionShape forwardShape(AttentionRun run, Gradients gradients) {
    return bucket(run, run.segments(), gradients);
  }

  /**
   * The shape of the backward plan: with a workspace that grows with segments, which is that of
   * deterministic gradients on sm_90, as many of them as fit in {@link #MAX_WORKSPACE_BYTES}; null
   * if not even the fewest do.
   */
  static @Nullable CudnnAttentionShape backwardShape(
      AttentionRun run, int computeCapability, Gradients gradients) {
    CudnnAttentionShape shape = bucket(run, run.segments(), gradients);
    if (gradients == Gradients.ATOMIC || computeCapability != 90) {
      return shape;
    }
    int segments = shape.segments();
    while (segments * scoreBytes(run, shape.length()) > MAX_WORKSPACE_BYTES) {
      segments /= 2;
    }
    return segments < CudnnAttentionShape.MIN_SEGMENTS ? null : bucket(run, segments, gradients);
  }

  private static CudnnAttentionShape bucket(AttentionRun run, int segments, Gradients gradients) {
    return CudnnAttentionShape.bucket(
        segments,
        run.longestKeys(),
        run.heads(),
        run.kvHeads(),
        run.headDim(),
        run.qStride(),
        run.dQStride(),
        gradients);
  }

  private static int longest(AttentionRun run) {
    return bucket(run, run.segments(), Gradients.ATOMIC).length();
  }

  /** Bytes of dS of one segment, in bf16. */
  private static long scoreBytes(AttentionRun run, int length) {
    return Math.multiplyExact((long) run.heads() * DType.BF16.sizeBytes(), (long) length * length);
  }

  private CudnnExecution forwardExecution() {
    CudnnGraph graph = CudnnAttentionGraph.forward(forwardShape);
    return new CudnnExecution(
        plans.get(forwardShape.forwardKey(), () -> graph, null), graph, arena);
  }

  private CudnnExecution backwardExecution(int computeCapability) {
    CudnnGraph graph = CudnnAttentionGraph.backward(backwardShape);
    return new CudnnExecution(
        plans.get(
            backwardShape.backwardKey(),
            () -> graph,
            CudnnAttentionGraph.backwardEngine(computeCapability, backwardShape.gradients())),
        graph,
        arena);
  }

  @Override
  public String name() {
    return "cudnn";
  }

  /** Whether two runs compute the same bits. */
  boolean isDeterministic() {
    return backwardShape.gradients() == Gradients.DETERMINISTIC;
  }

  @Override
  public void prepare(int[] hostSegments) {
    if (hostSegments == prepared[latest].hostSegments) {
      return;
    }
    latest = 1 - latest;
    if (hostSegments != prepared[latest].hostSegments) {
      Tensor table = prepared[latest].table;
      prepared[latest] = new Prepared(null, table);
      segments.write(segmentsBlock, hostSegments);
      backend.upload(table, segmentsBlock);
      prepared[latest] = new Prepared(hostSegments, table);
    }
  }

  /** Where cuDNN's table of them is; plans are made for the run's bounds, whatever the lengths. */
  @Override
  public long launch(int[] hostSegments) {
    for (Prepared each : prepared) {
      if (each.hostSegments == hostSegments) {
        return each.table.address().address();
      }
    }
    throw new IllegalStateException("cudnn attention: the segments were not prepared");
  }

  @Override
  public void forward(
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window) {
    check(q, k, scale, softcap, window < run.longestKeys() ? window : 0);
    prepare(hostSegments);
    for (int first = 0; first < count(hostSegments); first += forwardShape.segments()) {
      int begin = first;
      forward.run(
          handle,
          role ->
              switch (role) {
                case Q -> address(q);
                case K -> address(k);
                case V -> address(v);
                case OUT -> address(out);
                case LSE -> lse == null ? lseScratch : address(lse);
                default -> shared(role, begin);
              },
          workspace);
    }
  }

  @Override
  public void backward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window) {
    check(q, k, scale, softcap, window < run.longestKeys() ? window : 0);
    if (dQ.rowStride() != run.dQStride()) {
      throw mismatch("rows of dQ", dQ.rowStride(), run.dQStride());
    }
    prepare(hostSegments);
    for (int first = 0; first < count(hostSegments); first += backwardShape.segments()) {
      int begin = first;
      backward.run(
          handle,
          role ->
              switch (role) {
                case Q -> address(q);
                case K -> address(k);
                case V -> address(v);
                case OUT -> address(out);
                case LSE -> address(lse);
                case D_OUT -> address(dOut);
                case D_Q -> address(dQ);
                case D_K -> address(dK);
                case D_V -> address(dV);
                default -> shared(role, begin);
              },
          workspace);
    }
  }

  /** What is not an argument: scalars, scratch, and the tables from a segment on. */
  private MemorySegment shared(Role role, int firstSegment) {
    return switch (role) {
      case SCALE -> scale;
      case MASKED_SCORE -> maskedScore;
      case ONE -> one;
      case ROW_SUM -> rowSum;
      case D_Q_SUM -> dQSum;
      case D_K_HEADS -> dKHeads;
      case D_V_HEADS -> dVHeads;
      case OFFSET_Q -> table(CudnnSegments.Table.OFFSET_Q, firstSegment);
      case OFFSET_D_Q -> table(CudnnSegments.Table.OFFSET_D_Q, firstSegment);
      case OFFSET_OUT -> table(CudnnSegments.Table.OFFSET_OUT, firstSegment);
      case OFFSET_KV -> table(CudnnSegments.Table.OFFSET_KV, firstSegment);
      case OFFSET_LSE -> table(CudnnSegments.Table.OFFSET_LSE, firstSegment);
      case LENGTH_Q -> table(CudnnSegments.Table.LENGTH_Q, firstSegment);
      case LENGTH_KV -> table(CudnnSegments.Table.LENGTH_KV, firstSegment);
      case Q, K, V, OUT, LSE, D_OUT, D_Q, D_K, D_V ->
          throw new IllegalStateException("cudnn attention: no address of " + role);
    };
  }

  private MemorySegment table(CudnnSegments.Table table, int segment) {
    return MemorySegment.ofAddress(
        prepared[latest].table.address().address() + segments.offsetBytes(table, segment));
  }

  private static MemorySegment address(Tensor tensor) {
    MemorySegment address = tensor.address();
    if (address.address() % 16 != 0) {
      throw new CudnnUnsupportedException(
          "cudnn attention: %s is at %#x, expected a multiple of 16 bytes"
              .formatted(tensor, address.address()));
    }
    return address;
  }

  private static int count(int[] hostSegments) {
    return hostSegments.length / 4;
  }

  private void check(Tensor q, Tensor k, float scale, float softcap, int window) {
    if (q.dtype() != run.dtype()) {
      throw new CudnnUnsupportedException(
          "cudnn attention: %s, planned for %s".formatted(q, run.dtype()));
    }
    List<String> names =
        List.of("heads", "key heads", "head size", "rows of q", "window", "queries", "keys");
    long[] got = {q.dim(1), k.dim(1), q.dim(2), q.rowStride(), window, q.dim(0), k.dim(0)};
    long[] planned = {
      run.heads(),
      run.kvHeads(),
      run.headDim(),
      run.qStride(),
      run.window(),
      run.tokens(),
      run.keyRows()
    };
    for (int i = 0; i < got.length; i++) {
      boolean fits = i >= 5 ? got[i] <= planned[i] : got[i] == planned[i];
      if (!fits) {
        throw mismatch(names.get(i), got[i], planned[i]);
      }
    }
    if (scale != run.scale() || softcap != run.softcap()) {
      throw new CudnnUnsupportedException(
          "cudnn attention: scale is %s and soft-cap %s, planned for %s and %s"
              .formatted(scale, softcap, run.scale(), run.softcap()));
    }
  }

  private static CudnnUnsupportedException mismatch(String what, long got, long planned) {
    return new CudnnUnsupportedException(
        "cudnn attention: %s: %d, planned for %d".formatted(what, got, planned));
  }

  private MemorySegment at(long offset) {
    return MemorySegment.ofAddress(memory.segment().address() + offset);
  }

  @Override
  public void close() {
    if (open) {
      open = false;
      forward.close();
      backward.close();
      CudnnStatus.check("cudnnDestroy", Cudnn.cudnnDestroy(handle));
      memory.close();
      arena.close();
    }
  }

  /** Parts of one buffer. */
  private static final class Layout {
    private long sizeBytes;

    long add(long bytes) {
      long begin = sizeBytes;
      sizeBytes = Math.addExact(begin, Math.ceilDiv(bytes, ALIGNMENT_BYTES) * ALIGNMENT_BYTES);
      return begin;
    }
  }
}
