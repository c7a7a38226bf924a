package dev.gatun.backend;

import dev.gatun.bindings.NativeLibraries;
import dev.gatun.bindings.NativeLibraryException;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.bindings.onednn.OneDnn;
import dev.gatun.bindings.onednn.dnnl_version_t;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The processor: kernels and matrix products of libgatun_cpu and oneDNN, one OpenMP thread pool.
 */
public final class CpuBackend implements Backend {
  /** kFewRows of matmul.cpp. */
  private static final int FEW_ROWS = 8;

  /** dnnl_cpu_isa_avx512_core_bf16 of dnnl_types.h: the bits of all that it comprises. */
  private static final int ONEDNN_AVX512_BF16 = 0xe7;

  private final String isa;
  private final int threads;
  private final CpuTopology topology;
  private final boolean bound;
  private final NumaMemory numaMemory;
  private final Kernels kernels;
  private final AttentionProvider attention;
  private final Workspace workspace = new Workspace("workspace", Buffer::allocate);
  private @Nullable RangeClock clock;

  private CpuBackend(
      String isa,
      int threads,
      CpuTopology topology,
      boolean bound,
      NumaMemory numaMemory,
      MemorySegment table) {
    this.isa = isa;
    this.threads = threads;
    this.topology = topology;
    this.bound = bound;
    this.numaMemory = numaMemory;
    this.kernels = new Kernels(table, workspace, MemorySegment.NULL, () -> "");
    this.attention = new KernelAttention(kernels, KernelAttention.LaunchSize.EXACT);
  }

  /**
   * Loads the libraries and sets the number of threads. Where that makes threads bound to cores,
   * the calling thread is not: threads that it starts would inherit its one core.
   *
   * @throws BackendUnavailableException if a library is missing, or this machine or build lacks the
   *     instruction set
   * @throws dev.gatun.library.LwjglLibraryException if hwloc cannot be loaded
   */
  public static CpuBackend create(CpuOptions options) {
    Hwloc hwloc = Hwloc.ofThisProcess();
    return create(options, hwloc, hwloc.topology(), UnaryOperator.identity());
  }

  /**
   * As above.
   *
   * @param hwloc of this process; belongs to the backend, or is closed if there will be none
   * @param topology what to believe of it
   * @param kernels the table to call, made of the library's
   */
  static CpuBackend create(
      CpuOptions options, Hwloc hwloc, CpuTopology topology, UnaryOperator<MemorySegment> kernels) {
    try {
      int threads = options.threads() == 0 ? CpuCores.defaultThreads(topology) : options.threads();
      boolean bound = topology.bindsThreads(threads) && NativeLibraries.bindThreads();
      loadLibraries();
      if (bound) {
        hwloc.releaseThread();
      }
      MemorySegment table = kernels.apply(table(options.isa()));
      check("gatun_cpu_set_threads", GatunNative.gatun_cpu_set_threads(threads));
      String isa = options.isa() == null ? GatunNative.gatun_cpu_isa().getString(0) : options.isa();
      NumaMemory numaMemory = NumaMemory.of(hwloc, topology);
      return new CpuBackend(isa, threads, topology, bound, numaMemory, table);
    } catch (Throwable failure) {
      hwloc.close();
      throw failure;
    }
  }

  private static void loadLibraries() {
    try {
      NativeLibraries.loadCpu();
    } catch (NativeLibraryException e) {
      throw new BackendUnavailableException("cpu: " + e.getMessage(), e);
    }
  }

  private static MemorySegment table(@Nullable String isa) {
    MemorySegment table;
    try (Arena arena = Arena.ofConfined()) {
      table =
          GatunNative.gatun_cpu_kernels(isa == null ? MemorySegment.NULL : arena.allocateFrom(isa));
    }
    if (table.equals(MemorySegment.NULL)) {
      throw new BackendUnavailableException(
          "cpu: " + GatunNative.gatun_cpu_last_error().getString(0));
    }
    return Kernels.table("cpu", table);
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String description() {
    return "cpu: %d %s%s, kernels for %s, %s"
        .formatted(threads, threads == 1 ? "thread" : "threads", numa(), isa, oneDnnVersion());
  }

  /** On several NUMA nodes, how they are used. */
  private String numa() {
    return topology.isNuma()
        ? " on %d NUMA nodes%s%s"
            .formatted(
                topology.numaNodes().size(),
                bound ? ", bound to cores" : "",
                numaMemory.isInterleaved() ? ", memory interleaved" : "")
        : "";
  }

  @Override
  public List<String> notes() {
    return numaMemory.notes();
  }

  /** What this backend computes on. */
  public CpuTopology topology() {
    return topology;
  }

  /** Where large buffers lie, for people. */
  public String memoryPlacement() {
    return numaMemory.description();
  }

  private static String oneDnnVersion() {
    MemorySegment version = OneDnn.dnnl_version();
    return "oneDNN %d.%d.%d"
        .formatted(
            dnnl_version_t.major(version),
            dnnl_version_t.minor(version),
            dnnl_version_t.patch(version));
  }

  /** The instruction set of the kernels. */
  public String isa() {
    return isa;
  }

  /** Size of the thread pool when this backend was created. */
  public int threads() {
    return threads;
  }

  @Override
  public Buffer allocate(String name, long sizeBytes) {
    return numaMemory.allocate(name, sizeBytes);
  }

  @Override
  public void zero(Tensor tensor) {
    Operands.requireContiguous("zero", tensor);
    tensor.address().fill((byte) 0);
  }

  @Override
  public void copy(Tensor dst, Tensor src) {
    Operands.requireAlike("copy", dst, src);
    dst.address().copyFrom(src.address());
  }

  @Override
  public void upload(Tensor dst, MemorySegment src) {
    Operands.requireContiguous("upload", dst);
    Operands.requireBytes("upload", dst, src);
    dst.address().copyFrom(src);
  }

  @Override
  public void upload(Tensor dst, float[] src) {
    Operands.requireType("upload", dst, DType.F32);
    upload(dst, MemorySegment.ofArray(src));
  }

  @Override
  public void upload(Tensor dst, int[] src) {
    Operands.requireType("upload", dst, DType.I32);
    upload(dst, MemorySegment.ofArray(src));
  }

  @Override
  public ByteBuffer hostView(Tensor src, long offsetBytes, long sizeBytes) {
    Operands.requireContiguous("hostView", src);
    return src.address().asSlice(offsetBytes, sizeBytes).asReadOnly().asByteBuffer();
  }

  @Override
  public void download(MemorySegment dst, Tensor src) {
    Operands.requireContiguous("download", src);
    Operands.requireBytes("download", src, dst);
    dst.copyFrom(src.address());
  }

  @Override
  public float[] downloadF32(Tensor src) {
    Operands.requireContiguous("download", src);
    return Operands.toF32(src, src.address());
  }

  @Override
  public int[] downloadI32(Tensor src) {
    Operands.requireContiguous("download", src);
    Operands.requireType("download", src, DType.I32);
    return src.address().toArray(ValueLayout.JAVA_INT);
  }

  @Override
  public void cast(Tensor dst, Tensor src) {
    Operands.requireSameCount("cast", dst, src);
    kernels.cast(dst, src, src.elementCount(), dst.dtype(), src.dtype());
  }

  @Override
  public void matmul(
      Tensor c,
      Tensor a,
      Transpose transposeA,
      Tensor b,
      Transpose transposeB,
      @Nullable Tensor bias,
      Accumulate accumulate) {
    MatmulShape shape = MatmulShape.of(c, a, transposeA, b, transposeB, bias);
    check(
        "gatun_cpu_matmul",
        GatunNative.gatun_cpu_matmul(
            c.address(),
            a.address(),
            b.address(),
            bias == null ? MemorySegment.NULL : bias.address(),
            shape.m(),
            shape.n(),
            shape.k(),
            a.rowStride(),
            b.rowStride(),
            c.rowStride(),
            transposeA == Transpose.YES ? 1 : 0,
            transposeB == Transpose.YES ? 1 : 0,
            accumulate == Accumulate.ADD ? 1 : 0,
            a.dtype().code(),
            c.dtype().code()));
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public AttentionProvider attention() {
    return attention;
  }

  @Override
  public String planAttention(AttentionImplementation implementation, AttentionRun run) {
    if (implementation == AttentionImplementation.CUDNN) {
      throw new CudnnUnsupportedException(
          "cuDNN computes on GPUs, the device is cpu; expected auto or gatun");
    }
    return attention.name();
  }

  @Override
  public void reserveWorkspace(long rows, long columns) {
    workspace.reserve(kernels.workspaceBytes(rows, columns));
  }

  @Override
  public BackendMemory memory() {
    return new BackendMemory() {
      @Override
      public long workspaceBytes(long rows, long columns) {
        return kernels.workspaceBytes(rows, columns);
      }

      /** What libraries take for a product they give back. */
      @Override
      public long matmulBytes() {
        return 0;
      }
    };
  }

  /**
   * Products of at least {@value #FEW_ROWS} rows are our own panels, whose sums have one order
   * (matmul.cpp): f32 everywhere, bf16 where the processor has VDPBF16PS and no AMX. Others are
   * oneDNN's, of which nothing is claimed.
   */
  @Override
  public Numerics numerics(DType operands) {
    // What makes oneDNN see another processor chooses among these too.
    boolean bf16Panels =
        isa.equals("v4-bf16")
            && !Numerics.processorHas("amx_tile")
            && System.getenv("ONEDNN_MAX_CPU_ISA") == null
            && System.getenv("DNNL_MAX_CPU_ISA") == null;
    int independentRows =
        switch (operands) {
          case F32 -> FEW_ROWS;
          case BF16 -> bf16Panels ? FEW_ROWS : Numerics.DEPENDENT;
          case F16, I32, U16, U8 ->
              throw new IllegalArgumentException("no products of " + operands);
        };
    return new Numerics(
        String.join(
            "\n",
            name(),
            isa,
            Numerics.library(NativeLibraries.loadCpu()),
            oneDnnVersion(),
            Numerics.machine()),
        independentRows);
  }

  /**
   * bf16 where it is VDPBF16PS or AMX that multiplies; elsewhere oneDNN widens. As in matmul.cpp,
   * what keeps oneDNN from these instructions ({@code ONEDNN_MAX_CPU_ISA}) counts.
   */
  @Override
  public DType fastestOperands() {
    boolean hardware =
        isa.equals("v4-bf16")
            && (OneDnn.dnnl_get_effective_cpu_isa() & ONEDNN_AVX512_BF16) == ONEDNN_AVX512_BF16;
    return hardware ? DType.BF16 : DType.F32;
  }

  /** Does nothing: calls return when their work is done. */
  @Override
  public void synchronize() {}

  /** For timing only: profilers of processors see functions by their names. */
  @Override
  public Range range(String name) {
    RangeClock current = clock;
    if (current == null) {
      return () -> {};
    }
    current.begin(name, System.nanoTime());
    return () -> current.end(System.nanoTime());
  }

  @Override
  public void startTiming() {
    clock = new RangeClock();
  }

  @Override
  public RangeTimes stopTiming() {
    RangeClock stopped = clock;
    if (stopped == null) {
      throw new IllegalStateException("stopTiming without startTiming");
    }
    clock = null;
    return stopped.times();
  }

  @Override
  public OptionalLong peakBytes() {
    return ProcessMemory.peakBytes();
  }

  @Override
  public void startProfiler() {}

  @Override
  public void stopProfiler() {}

  @Override
  public void close() {
    workspace.close();
    numaMemory.close();
  }

  private static void check(String function, int status) {
    if (status != GatunNative.GATUN_OK()) {
      throw new NativeException(
          function,
          status,
          Kernels.symbol(status),
          GatunNative.gatun_cpu_last_error().getString(0));
    }
  }
}
