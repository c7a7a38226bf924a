package dev.gatun.backend;

import dev.gatun.bindings.CudaLibraries;
import dev.gatun.bindings.CudaLibrary;
import dev.gatun.bindings.NativeLibraryException;
import dev.gatun.bindings.cuda.CudaRuntime;
import dev.gatun.bindings.kernels.GatunDevice;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.memory.Buffer;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * An NVIDIA GPU: kernels of libgatun_cuda, matrix products by cuBLASLt, one stream. Calls return
 * when their work is enqueued; downloads wait for it.
 */
public final class CudaBackend implements Backend {
  /** Of the ring that uploads pass; larger ones take several blocks. */
  private static final long PINNED_BLOCK_BYTES = 4L << 20;

  private final CudaLibraries.Provider provider;
  private final CudaOptions options;
  private final CudaDevice device;
  private final List<String> notes;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment stream;
  private final PinnedRing ring;
  private final AlgorithmFile algorithms;
  private final CublasLtMatmul matmul;
  private final Kernels kernels;
  private final CudaAttention attention;
  private final Workspace workspace = new Workspace("workspace", this::allocateShared);
  private final Workspace biasScratch = new Workspace("bias in f32", this::allocateShared);
  private final @Nullable CudaGraphs graphs; // null: none are made
  private final Map<String, MemorySegment> rangeNames = new HashMap<>();
  private final AtomicLong allocatedBytes = new AtomicLong();
  private final AtomicLong peakBytes = new AtomicLong();
  private @Nullable CudaRangeMarks marks;
  private @Nullable PinnedMemory view;
  private @Nullable Thread thread;
  private boolean open = true;

  private CudaBackend(CudaLibraries.Provider provider, CudaOptions options, CudaDevice device) {
    this.provider = provider;
    this.options = options;
    this.device = device;
    this.notes = new ArrayList<>();
    this.thread = Thread.currentThread();
    MemorySegment table =
        provider == CudaLibraries.Provider.DEVICE
            ? GatunDevice.gatun_cuda_kernels()
            : GatunDevice.gatun_simt_kernels();
    int status = GatunDevice.gatun_device_set_debug_sync(options.debugSync() ? 1 : 0);
    if (status != GatunNative.GATUN_OK()) {
      throw new NativeException(
          "gatun_device_set_debug_sync",
          status,
          Kernels.symbol(status),
          GatunDevice.gatun_device_last_error().getString(0));
    }
    MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
    CudaStatus.check(
        "cudaStreamCreateWithFlags",
        CudaRuntime.cudaStreamCreateWithFlags(pointer, CudaRuntime.cudaStreamNonBlocking()));
    stream = pointer.get(ValueLayout.ADDRESS, 0);
    kernels = new Kernels(Kernels.table("cuda", table), workspace, stream, CudaStatus::advice);
    attention = new CudaAttention(this, stream, device, options, kernels, this::warn);
    graphs =
        options.graphs() == CudaOptions.Graphs.OFF || options.debugSync()
            ? null
            : new CudaGraphs(
                stream, CudaGraphs.MAX_GRAPHS, device.totalBytes() / CudaGraphs.MEMORY_SHARE);
    ring = new PinnedRing(stream, PINNED_BLOCK_BYTES);
    algorithms = AlgorithmFile.open(algorithmFile(), CublasLtMatmul.algorithmBytes(), this::warn);
    matmul =
        new CublasLtMatmul(
            device,
            stream,
            options.matmulChoice(),
            algorithms,
            this::warn,
            sizeBytes -> allocate("cublasLt", sizeBytes));
  }

  /**
   * Loads the libraries and takes a GPU.
   *
   * @throws BackendUnavailableException if a library is missing or no GPU answers
   */
  public static CudaBackend create(CudaOptions options) {
    CudaLibraries.Provider provider = load(options.cudaHome());
    int count = devices(provider);
    if (options.device() >= count) {
      throw new BackendUnavailableException(
          "cuda:%d: this machine shows %d %s, counted from 0; look at CUDA_VISIBLE_DEVICES too"
              .formatted(options.device(), count, count == 1 ? "GPU" : "GPUs"));
    }
    return new CudaBackend(provider, options, CudaDevice.current(options.device()));
  }

  /**
   * As {@link #create}, but never the emulation.
   *
   * @throws BackendUnavailableException if a library is missing, no GPU answers, or {@value
   *     CudaLibraries#PROVIDER_PROPERTY} chooses the emulation
   */
  public static CudaBackend createOnGpu(CudaOptions options) {
    if (CudaLibraries.provider() != CudaLibraries.Provider.DEVICE) {
      throw new BackendUnavailableException(
          "cuda: this process emulates CUDA, which only device cuda asks for");
    }
    return create(options);
  }

  /**
   * The GPUs that answer; at least one.
   *
   * @param cudaHome folder to look for NVIDIA's libraries in first, or null
   * @throws BackendUnavailableException if a library is missing or no GPU answers
   */
  public static List<CudaDevice> devices(@Nullable Path cudaHome) {
    List<CudaDevice> devices = new ArrayList<>();
    int count = devices(load(cudaHome));
    for (int i = 0; i < count; i++) {
      devices.add(CudaDevice.current(i));
    }
    return devices;
  }

  /**
   * A library that the backend needs or may use, found or not; nothing is loaded.
   *
   * @param title its name for people
   * @param text where it is and why there, or where it was looked for and the remedy
   */
  public record Library(String title, String text) {}

  /**
   * Looks for the libraries.
   *
   * @param cudaHome folder to look for NVIDIA's libraries in first, or null
   */
  public static List<Library> libraries(@Nullable Path cudaHome) {
    List<Library> libraries = new ArrayList<>();
    libraries.add(
        new Library("kernels", CudaLibraries.findKernels(CudaLibraries.provider()).message()));
    for (CudaLibrary library : CudaLibrary.values()) {
      libraries.add(new Library(library.title(), CudaLibraries.find(library, cudaHome).message()));
    }
    return libraries;
  }

  /**
   * Versions of driver, CUDA runtime and cuBLASLt, for people. No GPU needs to be there.
   *
   * @throws BackendUnavailableException if a library is missing
   */
  public static String versions(@Nullable Path cudaHome) {
    load(cudaHome);
    return versions();
  }

  private static String versions() {
    return "driver for CUDA %s, CUDA runtime %s, cuBLASLt %s"
        .formatted(CudaDevice.driverVersion(), CudaDevice.runtimeVersion(), cublasLtVersion());
  }

  private static String cublasLtVersion() {
    long version = CublasLtMatmul.version();
    return "%d.%d.%d".formatted(version / 10_000, version % 10_000 / 100, version % 100);
  }

  private static CudaLibraries.Provider load(@Nullable Path cudaHome) {
    try {
      CudaLibraries.Provider provider = CudaLibraries.provider();
      CudaLibraries.load(provider, cudaHome);
      return provider;
    } catch (NativeLibraryException e) {
      throw new BackendUnavailableException("cuda: " + e.getMessage(), e);
    }
  }

  private static int devices(CudaLibraries.Provider provider) {
    try {
      int count = CudaDevice.count();
      if (count == 0) {
        throw new BackendUnavailableException("cuda: this machine shows no GPU; use device cpu");
      }
      return count;
    } catch (NativeException e) {
      throw new BackendUnavailableException(
          "cuda: no GPU answers (%s); driver for CUDA %s, runtime %s; %s"
              .formatted(
                  e.getMessage(),
                  CudaDevice.driverVersion(),
                  CudaDevice.runtimeVersion(),
                  provider == CudaLibraries.Provider.DEVICE
                      ? "see what nvidia-smi says, or use device cpu"
                      : "the emulation is at fault"),
          e);
    }
  }

  @Override
  public String name() {
    return "cuda";
  }

  @Override
  public String description() {
    if (provider == CudaLibraries.Provider.SIMT) {
      return "cuda (SIMT emulation on the CPU, for tests)";
    }
    return "cuda:%d: %s, sm_%d, %.1f GiB; %s%s%s%s"
        .formatted(
            device.index(),
            device.name(),
            device.computeCapability(),
            device.totalBytes() / (double) (1L << 30),
            versions(),
            options.tf32() ? "; TF32 for f32 products" : "",
            graphs == null ? "; no CUDA graphs" : "",
            options.debugSync() ? "; waiting after every operation" : "");
  }

  /**
   * Algorithms of cuBLASLt are chosen by shape, and by the clock unless an earlier choice was kept;
   * so no row is independent, and where choices are not kept no other run has this identity.
   */
  @Override
  public Numerics numerics(DType operands) {
    Path choices = algorithms.keptIn();
    boolean repeated = options.matmulChoice() == CudaOptions.MatmulChoice.FIRST || choices != null;
    return new Numerics(
        String.join(
            "\n",
            name(),
            provider.name(),
            device.name(),
            "sm_%d, %d".formatted(device.computeCapability(), device.multiprocessors()),
            Numerics.library(CudaLibraries.load(provider, options.cudaHome()).kernels()),
            provider == CudaLibraries.Provider.SIMT ? "" : versions(),
            "tf32 " + options.tf32(),
            options.matmulChoice().name(),
            repeated ? String.valueOf(choices) : UUID.randomUUID().toString(),
            attention().name(),
            Numerics.machine()),
        Numerics.DEPENDENT);
  }

  /** bf16: every GPU that the kernels are built for (sm_80 and later) has tensor cores for it. */
  @Override
  public DType fastestOperands() {
    return DType.BF16;
  }

  @Override
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /** The GPU. */
  public CudaDevice device() {
    return device;
  }

  @Override
  public Buffer allocate(String name, long sizeBytes) {
    bindThread();
    refuseInCapture("allocation of " + name);
    // Not even an empty buffer is at NULL, which kernels take for a missing argument.
    long allocated = Math.max(sizeBytes, Buffer.ALIGNMENT_BYTES);
    MemorySegment memory;
    try (Arena call = Arena.ofConfined()) {
      MemorySegment pointer = call.allocate(ValueLayout.ADDRESS);
      int status = CudaRuntime.cudaMalloc(pointer, allocated);
      if (status == CudaRuntime.cudaErrorMemoryAllocation()) {
        int _ = CudaRuntime.cudaGetLastError(); // It does not stay.
        CudaDevice now = CudaDevice.current(device.index());
        throw new MemoryExhaustedException(
            name, sizeBytes, "cuda:" + device.index(), now.freeBytes(), now.totalBytes());
      }
      CudaStatus.check("cudaMalloc", status);
      memory = pointer.get(ValueLayout.ADDRESS, 0);
    }
    long now = allocatedBytes.addAndGet(allocated);
    peakBytes.accumulateAndGet(now, Math::max);
    Buffer buffer = Buffer.onDevice(name, sizeBytes, memory, () -> free(name, memory, allocated));
    try {
      CudaStatus.check(
          "cudaMemsetAsync", CudaRuntime.cudaMemsetAsync(memory, 0, allocated, stream));
    } catch (Throwable failure) {
      buffer.close();
      throw failure;
    }
    return buffer;
  }

  /** Memory that operations of any shape use: graphs that know its former place are void. */
  private Buffer allocateShared(String name, long sizeBytes) {
    if (graphs != null) {
      graphs.forget();
    }
    return allocate(name, sizeBytes);
  }

  private void free(String name, MemorySegment memory, long sizeBytes) {
    allocatedBytes.addAndGet(-sizeBytes);
    // Waits for the work that uses it, and so may bring that work's failure to light.
    CudaStatus.check("cudaFree of " + name, CudaRuntime.cudaFree(memory));
  }

  @Override
  public void zero(Tensor tensor) {
    Operands.requireContiguous("zero", tensor);
    bindThread();
    CudaStatus.check(
        "cudaMemsetAsync",
        CudaRuntime.cudaMemsetAsync(tensor.address(), 0, tensor.sizeBytes(), stream));
    enqueued("zero", tensor);
  }

  @Override
  public void copy(Tensor dst, Tensor src) {
    Operands.requireAlike("copy", dst, src);
    bindThread();
    CudaStatus.check(
        "cudaMemcpyAsync",
        CudaRuntime.cudaMemcpyAsync(
            dst.address(),
            src.address(),
            src.sizeBytes(),
            CudaRuntime.cudaMemcpyDeviceToDevice(),
            stream));
    enqueued("copy", dst);
  }

  @Override
  public void upload(Tensor dst, MemorySegment src) {
    Operands.requireContiguous("upload", dst);
    Operands.requireBytes("upload", dst, src);
    bindThread();
    refuseInside("upload of " + dst.name());
    ring.upload(dst.address(), src);
    enqueued("upload", dst);
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
    Objects.checkFromIndexSize(offsetBytes, sizeBytes, src.sizeBytes());
    bindThread();
    refuseInside("download of " + src.name());
    if (view == null || view.segment().byteSize() < sizeBytes) {
      if (view != null) {
        view.close();
      }
      view = new PinnedMemory(sizeBytes);
    }
    MemorySegment host = view.segment().asSlice(0, sizeBytes);
    CudaStatus.check(
        "cudaMemcpyAsync",
        CudaRuntime.cudaMemcpyAsync(
            host,
            MemorySegment.ofAddress(src.address().address() + offsetBytes),
            sizeBytes,
            CudaRuntime.cudaMemcpyDeviceToHost(),
            stream));
    synchronize();
    return host.asReadOnly().asByteBuffer();
  }

  @Override
  public void download(MemorySegment dst, Tensor src) {
    Operands.requireContiguous("download", src);
    Operands.requireBytes("download", src, dst);
    bindThread();
    refuseInside("download of " + src.name());
    ring.download(dst, src.address());
  }

  @Override
  public float[] downloadF32(Tensor src) {
    try (Arena call = Arena.ofConfined()) {
      MemorySegment bytes = call.allocate(src.sizeBytes(), Buffer.ALIGNMENT_BYTES);
      download(bytes, src);
      return Operands.toF32(src, bytes);
    }
  }

  @Override
  public int[] downloadI32(Tensor src) {
    Operands.requireType("download", src, DType.I32);
    int[] values = new int[Math.toIntExact(src.elementCount())];
    download(MemorySegment.ofArray(values), src);
    return values;
  }

  @Override
  public void cast(Tensor dst, Tensor src) {
    Operands.requireSameCount("cast", dst, src);
    kernels().cast(dst, src, src.elementCount(), dst.dtype(), src.dtype());
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
    if (shape.m() == 0 || shape.n() == 0) {
      return;
    }
    if (shape.k() == 0) {
      throw new IllegalArgumentException("matmul: %s and %s have k = 0".formatted(a, b));
    }
    bindThread();
    // cuBLASLt adds a bias of the type of its result only.
    Tensor added = bias == null || bias.dtype() == c.dtype() ? bias : biasAs(c.dtype(), bias);
    MatmulProblem problem =
        MatmulProblem.of(shape, c, a, transposeA, b, transposeB, added, accumulate, options.tf32());
    matmul.run(problem, c, a, b, added);
    enqueued("matmul", c);
  }

  private Tensor biasAs(DType dtype, Tensor bias) {
    biasScratch.reserve(bias.elementCount() * dtype.sizeBytes());
    Tensor converted = new Tensor(bias.name(), dtype, bias.shape(), biasScratch.buffer(), 0);
    cast(converted, bias);
    return converted;
  }

  @Override
  public Kernels kernels() {
    bindThread();
    return kernels;
  }

  @Override
  public AttentionProvider attention() {
    bindThread();
    return attention;
  }

  @Override
  public String planAttention(AttentionImplementation implementation, AttentionRun run) {
    bindThread();
    if (graphs != null) {
      graphs.forget();
    }
    return attention.plan(implementation, run);
  }

  @Override
  public void reserveWorkspace(long rows, long columns) {
    workspace.reserve(kernels.workspaceBytes(rows, columns));
  }

  @Override
  public void replay(ReplayKey key, Runnable work) {
    bindThread();
    if (graphs == null) {
      work.run();
    } else {
      graphs.replay(key, work);
    }
  }

  @Override
  public List<String> summary() {
    if (graphs == null) {
      return List.of();
    }
    CudaGraphs.Counts counts = graphs.counts();
    return List.of(
        "CUDA graphs: %d captured, replayed %d times, %d passes of shapes seen once; %.1f MiB%s"
            .formatted(
                counts.captured(),
                counts.replayed(),
                counts.direct(),
                counts.sizeBytes() / (double) (1L << 20),
                graphs.isExhausted() ? "; the device had no memory for more" : ""));
  }

  /** What was replayed; null if nothing may be. */
  CudaGraphs.@Nullable Counts graphCounts() {
    return graphs == null ? null : graphs.counts();
  }

  private void refuseInside(String operation) {
    if (graphs != null) {
      graphs.refuseInside(operation);
    }
  }

  private void refuseInCapture(String operation) {
    if (graphs != null) {
      graphs.refuseInCapture(operation);
    }
  }

  @Override
  public BackendMemory memory() {
    return new CudaMemory(device.computeCapability());
  }

  @Override
  public void synchronize() {
    bindThread();
    refuseInCapture("synchronization");
    CudaStatus.check("cudaStreamSynchronize", CudaRuntime.cudaStreamSynchronize(stream));
  }

  @Override
  public Range range(String name) {
    GatunDevice.gatun_device_range_push(rangeNames.computeIfAbsent(name, arena::allocateFrom));
    CudaRangeMarks timed = marks;
    if (timed == null) {
      return GatunDevice::gatun_device_range_pop;
    }
    bindThread();
    timed.begin(name);
    return () -> {
      timed.end();
      GatunDevice.gatun_device_range_pop();
    };
  }

  @Override
  public void startTiming() {
    bindThread();
    closeMarks();
    marks = new CudaRangeMarks(stream);
  }

  @Override
  public RangeTimes stopTiming() {
    CudaRangeMarks stopped = marks;
    if (stopped == null) {
      throw new IllegalStateException("stopTiming without startTiming");
    }
    synchronize();
    RangeTimes times = stopped.times();
    closeMarks();
    return times;
  }

  private void closeMarks() {
    if (marks != null) {
      marks.close();
      marks = null;
    }
  }

  @Override
  public OptionalLong peakBytes() {
    return OptionalLong.of(peakBytes.get());
  }

  @Override
  public void startProfiler() {
    synchronize();
    if (graphs != null && options.graphs() == CudaOptions.Graphs.AUTO) {
      graphs.suspend();
    }
    CudaStatus.check("cudaProfilerStart", CudaRuntime.cudaProfilerStart());
  }

  @Override
  public void stopProfiler() {
    synchronize();
    CudaStatus.check("cudaProfilerStop", CudaRuntime.cudaProfilerStop());
    if (graphs != null) {
      graphs.resume();
    }
  }

  /** Frees everything but the buffers that were allocated, which their owners close. */
  @Override
  public void close() {
    if (!open) {
      return;
    }
    open = false;
    bindThread();
    closeMarks();
    if (graphs != null) {
      graphs.close();
    }
    attention.close();
    matmul.close();
    workspace.close();
    biasScratch.close();
    ring.close();
    if (view != null) {
      view.close();
    }
    CudaStatus.check("cudaStreamDestroy", CudaRuntime.cudaStreamDestroy(stream));
    arena.close();
  }

  /** Of this GPU and version of cuBLASLt, which choices depend on. */
  private @Nullable Path algorithmFile() {
    Path folder = options.cacheFolder();
    return folder == null
        ? null
        : folder.resolve(
            "cublaslt-%s-%s-sm%d.txt"
                .formatted(
                    cublasLtVersion(),
                    device.name().replaceAll("[^A-Za-z0-9.]+", "-"),
                    device.computeCapability()));
  }

  /** CUDA counts devices by thread. */
  private void bindThread() {
    if (thread != Thread.currentThread()) {
      CudaStatus.check("cudaSetDevice", CudaRuntime.cudaSetDevice(device.index()));
      thread = Thread.currentThread();
    }
  }

  /** With debug sync: waits, and names the operation if it failed. */
  private void enqueued(String op, Tensor tensor) {
    if (options.debugSync()) {
      CudaStatus.check("%s of %s".formatted(op, tensor), CudaRuntime.cudaStreamSynchronize(stream));
    }
  }

  private void warn(String warning) {
    notes.add("warning: " + warning);
  }
}
