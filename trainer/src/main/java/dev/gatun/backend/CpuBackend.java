package dev.gatun.backend;

import dev.gatun.bindings.NativeLibraries;
import dev.gatun.bindings.NativeLibraryException;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.bindings.kernels.gatun_kernels;
import dev.gatun.bindings.onednn.OneDnn;
import dev.gatun.bindings.onednn.dnnl_version_t;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** The processor: kernels of libgatun_cpu, matrix products by oneDNN, one OpenMP thread pool. */
public final class CpuBackend implements Backend {
  private final String isa;
  private final int threads;
  private final Kernels kernels;
  private final AttentionProvider attention;
  private final Workspace workspace = new Workspace();

  private CpuBackend(String isa, int threads, MemorySegment table) {
    this.isa = isa;
    this.threads = threads;
    this.kernels = new Kernels(table, workspace, MemorySegment.NULL);
    this.attention = new KernelAttention(kernels);
  }

  /**
   * Loads the libraries and sets the number of threads.
   *
   * @throws BackendUnavailableException if a library is missing, or this machine or build lacks the
   *     instruction set
   */
  public static CpuBackend create(CpuOptions options) {
    try {
      NativeLibraries.loadCpu();
    } catch (NativeLibraryException e) {
      throw new BackendUnavailableException("cpu: " + e.getMessage(), e);
    }
    MemorySegment table = table(options.isa());
    int abiVersion = gatun_kernels.abi_version(table);
    if (abiVersion != GatunNative.GATUN_ABI_VERSION()) {
      throw new BackendUnavailableException(
          "cpu: kernel table has ABI version "
              + abiVersion
              + ", expected "
              + GatunNative.GATUN_ABI_VERSION()
              + "; rebuild the native libraries");
    }
    int threads = options.threads() == 0 ? CpuCores.defaultThreads() : options.threads();
    check("gatun_cpu_set_threads", GatunNative.gatun_cpu_set_threads(threads));
    String isa = options.isa() == null ? GatunNative.gatun_cpu_isa().getString(0) : options.isa();
    return new CpuBackend(isa, threads, table);
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
    return table.asSlice(0, gatun_kernels.layout());
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String description() {
    MemorySegment version = OneDnn.dnnl_version();
    return "cpu: %d %s, kernels for %s, oneDNN %d.%d.%d"
        .formatted(
            threads,
            threads == 1 ? "thread" : "threads",
            isa,
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
    return Buffer.allocate(name, sizeBytes);
  }

  @Override
  public void zero(Tensor tensor) {
    requireContiguous("zero", tensor);
    tensor.address().fill((byte) 0);
  }

  @Override
  public void copy(Tensor dst, Tensor src) {
    requireContiguous("copy", dst);
    requireContiguous("copy", src);
    if (dst.dtype() != src.dtype() || dst.elementCount() != src.elementCount()) {
      throw new IllegalArgumentException(
          "copy: %s, expected the type and number of elements of %s".formatted(dst, src));
    }
    dst.address().copyFrom(src.address());
  }

  @Override
  public void upload(Tensor dst, MemorySegment src) {
    requireContiguous("upload", dst);
    requireBytes("upload", dst, src);
    dst.address().copyFrom(src);
  }

  @Override
  public void upload(Tensor dst, float[] src) {
    requireType("upload", dst, DType.F32);
    upload(dst, MemorySegment.ofArray(src));
  }

  @Override
  public void upload(Tensor dst, int[] src) {
    requireType("upload", dst, DType.I32);
    upload(dst, MemorySegment.ofArray(src));
  }

  @Override
  public ByteBuffer hostView(Tensor src, long offsetBytes, long sizeBytes) {
    requireContiguous("hostView", src);
    return src.address().asSlice(offsetBytes, sizeBytes).asReadOnly().asByteBuffer();
  }

  @Override
  public void download(MemorySegment dst, Tensor src) {
    requireContiguous("download", src);
    requireBytes("download", src, dst);
    dst.copyFrom(src.address());
  }

  @Override
  public float[] downloadF32(Tensor src) {
    requireContiguous("download", src);
    return switch (src.dtype()) {
      case F32 -> src.address().toArray(ValueLayout.JAVA_FLOAT);
      case BF16 -> {
        short[] bits = src.address().toArray(ValueLayout.JAVA_SHORT);
        float[] values = new float[bits.length];
        for (int i = 0; i < bits.length; i++) {
          values[i] = Float.intBitsToFloat(bits[i] << 16);
        }
        yield values;
      }
      case F16 -> {
        short[] bits = src.address().toArray(ValueLayout.JAVA_SHORT);
        float[] values = new float[bits.length];
        for (int i = 0; i < bits.length; i++) {
          values[i] = Float.float16ToFloat(bits[i]);
        }
        yield values;
      }
      case I32, U16 ->
          throw new IllegalArgumentException(
              "download: %s, expected f32, bf16 or f16".formatted(src));
    };
  }

  @Override
  public int[] downloadI32(Tensor src) {
    requireContiguous("download", src);
    requireType("download", src, DType.I32);
    return src.address().toArray(ValueLayout.JAVA_INT);
  }

  @Override
  public void cast(Tensor dst, Tensor src) {
    requireContiguous("cast", dst);
    requireContiguous("cast", src);
    if (dst.elementCount() != src.elementCount()) {
      throw new IllegalArgumentException(
          "cast: %s, expected the number of elements of %s".formatted(dst, src));
    }
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
    for (Tensor operand : new Tensor[] {c, a, b}) {
      if (operand.rank() != 2) {
        throw new IllegalArgumentException(
            "matmul: %s has rank %d, expected 2".formatted(operand, operand.rank()));
      }
    }
    long m = c.dim(0);
    long n = c.dim(1);
    boolean swapA = transposeA == Transpose.YES;
    boolean swapB = transposeB == Transpose.YES;
    long k = a.dim(swapA ? 0 : 1);
    boolean typesFit =
        a.dtype() == b.dtype()
            && (c.dtype() == a.dtype() || c.dtype() == DType.F32)
            && (a.dtype() == DType.F32 || a.dtype() == DType.BF16)
            && (bias == null || bias.dtype() == a.dtype());
    boolean shapesFit =
        a.dim(swapA ? 1 : 0) == m
            && b.dim(swapB ? 1 : 0) == k
            && b.dim(swapB ? 0 : 1) == n
            && (bias == null || bias.hasShape(n));
    if (!typesFit || !shapesFit) {
      throw new IllegalArgumentException(
          "matmul: %s%s, %s%s, %s and bias %s do not fit"
              .formatted(a, swapA ? "^T" : "", b, swapB ? "^T" : "", c, bias));
    }
    check(
        "gatun_cpu_matmul",
        GatunNative.gatun_cpu_matmul(
            c.address(),
            a.address(),
            b.address(),
            bias == null ? MemorySegment.NULL : bias.address(),
            m,
            n,
            k,
            a.rowStride(),
            b.rowStride(),
            c.rowStride(),
            swapA ? 1 : 0,
            swapB ? 1 : 0,
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
  public void reserveWorkspace(long rows, long columns) {
    workspace.reserve(kernels.workspaceBytes(rows, columns));
  }

  @Override
  public void close() {
    workspace.close();
  }

  private static void requireContiguous(String op, Tensor tensor) {
    if (!tensor.isContiguous()) {
      throw new IllegalArgumentException(
          "%s: %s has gaps between rows, expected contiguous".formatted(op, tensor));
    }
  }

  private static void requireType(String op, Tensor tensor, DType dtype) {
    if (tensor.dtype() != dtype) {
      throw new IllegalArgumentException("%s: %s, expected %s".formatted(op, tensor, dtype));
    }
  }

  private static void requireBytes(String op, Tensor tensor, MemorySegment host) {
    if (host.byteSize() != tensor.sizeBytes()) {
      throw new IllegalArgumentException(
          "%s: %s has %d bytes, host memory has %d"
              .formatted(op, tensor, tensor.sizeBytes(), host.byteSize()));
    }
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
