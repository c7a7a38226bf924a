package dev.gatun.backend;

import dev.gatun.backend.CudaOptions.MatmulChoice;
import dev.gatun.bindings.cublaslt.CublasLt;
import dev.gatun.bindings.cublaslt.cublasLtMatmulAlgo_t;
import dev.gatun.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import dev.gatun.memory.Buffer;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Matrix products by cuBLASLt. It is column-major: a row-major matrix is its own transpose there,
 * and {@code c = op(a) op(b)} becomes {@code c^T = op(b)^T op(a)^T}, so that its A is our b.
 *
 * <p>Sums are f32, and partial sums of split products too. The algorithm of a problem is chosen
 * among those that cuBLASLt proposes: the one kept for its kind, or the fastest of them by the
 * clock, else the first. What was chosen is kept on disk, and a kept one that cuBLASLt no longer
 * proposes is passed over, so a damaged file costs speed at most.
 */
final class CublasLtMatmul implements AutoCloseable {
  private static final int CANDIDATES = 8;
  private static final int TIMED_RUNS = 3;

  /** Plans kept; shapes differ with the tokens of a batch. */
  private static final int MAX_PLANS = 4096;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment handle;
  private final MemorySegment stream;
  private final MatmulChoice choice;
  private final AlgorithmFile algorithms;
  private final Consumer<String> warnings;
  private final LongFunction<Buffer> scratch;
  private final Buffer workspace;
  private final CudaEvent start = CudaEvent.timed();
  private final CudaEvent end = CudaEvent.timed();
  private final MemorySegment one = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1);
  private final MemorySegment zero = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 0);
  private final MemorySegment algorithm = cublasLtMatmulAlgo_t.allocate(arena);
  private final MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
  private final MemorySegment candidates =
      cublasLtMatmulHeuristicResult_t.allocateArray(CANDIDATES, arena);

  private final Map<MatmulProblem, Plan> plans =
      new LinkedHashMap<>(64, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<MatmulProblem, Plan> eldest) {
          if (size() <= MAX_PLANS) {
            return false;
          }
          eldest.getValue().close();
          return true;
        }
      };

  /**
   * Creates a handle on the current device.
   *
   * @param allocator of device memory, for the workspace and for outputs of timed runs
   */
  CublasLtMatmul(
      CudaDevice device,
      MemorySegment stream,
      MatmulChoice choice,
      AlgorithmFile algorithms,
      Consumer<String> warnings,
      LongFunction<Buffer> allocator) {
    this.stream = stream;
    this.choice = choice;
    this.algorithms = algorithms;
    this.warnings = warnings;
    this.scratch = allocator;
    CudaStatus.checkCublasLt("cublasLtCreate", CublasLt.cublasLtCreate(pointer));
    handle = pointer.get(ValueLayout.ADDRESS, 0);
    workspace = allocator.apply(new CudaMemory(device.computeCapability()).matmulBytes());
  }

  /** Size of an algorithm as {@link AlgorithmFile} keeps it. */
  static int algorithmBytes() {
    return Math.toIntExact(cublasLtMatmulAlgo_t.sizeof());
  }

  /** The version of cuBLASLt: 13.1.1 is {@code 130101}. */
  static long version() {
    return CublasLt.cublasLtGetVersion();
  }

  /**
   * Enqueues a product.
   *
   * @param bias of the type of c
   */
  void run(MatmulProblem problem, Tensor c, Tensor a, Tensor b, @Nullable Tensor bias) {
    Plan plan = plans.get(problem);
    if (plan == null) {
      plan = new Plan(problem);
      try {
        plan.choose(c, a, b, bias);
      } catch (Throwable failure) {
        plan.close();
        throw failure;
      }
      plans.put(problem, plan);
    }
    plan.setBias(bias);
    MemorySegment.copy(
        plan.algorithm, 0, algorithm, ValueLayout.JAVA_BYTE, 0, plan.algorithm.length);
    CudaStatus.checkCublasLt("cublasLtMatmul", plan.enqueue(algorithm, c.address(), a, b));
  }

  @Override
  public void close() {
    plans.values().forEach(Plan::close);
    plans.clear();
    start.close();
    end.close();
    workspace.close();
    if (arena.scope().isAlive()) {
      CudaStatus.checkCublasLt("cublasLtDestroy", CublasLt.cublasLtDestroy(handle));
      arena.close();
    }
  }

  /** Descriptors and algorithm of one problem. */
  private final class Plan implements AutoCloseable {
    private final List<Runnable> destroy = new ArrayList<>();
    private final MatmulProblem problem;
    private final MemorySegment description;
    private final MemorySegment left;
    private final MemorySegment right;
    private final MemorySegment result;
    private byte[] algorithm = {};

    Plan(MatmulProblem problem) {
      this.problem = problem;
      MatmulShape shape = problem.shape();
      int operands = cudaType(problem.operands());
      boolean swapA = problem.transposeA() == Transpose.YES;
      boolean swapB = problem.transposeB() == Transpose.YES;
      description = describe();
      left =
          layout(
              operands,
              swapB ? shape.k() : shape.n(),
              swapB ? shape.n() : shape.k(),
              problem.strideB());
      right =
          layout(
              operands,
              swapA ? shape.m() : shape.k(),
              swapA ? shape.k() : shape.m(),
              problem.strideA());
      result = layout(cudaType(problem.result()), shape.n(), shape.m(), problem.strideC());
    }

    private MemorySegment describe() {
      CudaStatus.checkCublasLt(
          "cublasLtMatmulDescCreate",
          CublasLt.cublasLtMatmulDescCreate(
              pointer,
              problem.tf32()
                  ? CublasLt.CUBLAS_COMPUTE_32F_FAST_TF32()
                  : CublasLt.CUBLAS_COMPUTE_32F(),
              CublasLt.CUDA_R_32F()));
      MemorySegment created = pointer.get(ValueLayout.ADDRESS, 0);
      destroy.add(
          () ->
              CudaStatus.checkCublasLt(
                  "cublasLtMatmulDescDestroy", CublasLt.cublasLtMatmulDescDestroy(created)));
      set(created, CublasLt.CUBLASLT_MATMUL_DESC_TRANSA(), operation(problem.transposeB()));
      set(created, CublasLt.CUBLASLT_MATMUL_DESC_TRANSB(), operation(problem.transposeA()));
      if (problem.biased()) {
        set(created, CublasLt.CUBLASLT_MATMUL_DESC_EPILOGUE(), CublasLt.CUBLASLT_EPILOGUE_BIAS());
        set(created, CublasLt.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE(), cudaType(problem.result()));
      }
      return created;
    }

    private void set(MemorySegment target, int attribute, int value) {
      try (Arena call = Arena.ofConfined()) {
        MemorySegment bytes = call.allocateFrom(ValueLayout.JAVA_INT, value);
        CudaStatus.checkCublasLt(
            "cublasLtMatmulDescSetAttribute",
            CublasLt.cublasLtMatmulDescSetAttribute(target, attribute, bytes, bytes.byteSize()));
      }
    }

    private MemorySegment layout(int type, long rows, long columns, long stride) {
      CudaStatus.checkCublasLt(
          "cublasLtMatrixLayoutCreate",
          CublasLt.cublasLtMatrixLayoutCreate(pointer, type, rows, columns, stride));
      MemorySegment created = pointer.get(ValueLayout.ADDRESS, 0);
      destroy.add(
          () ->
              CudaStatus.checkCublasLt(
                  "cublasLtMatrixLayoutDestroy", CublasLt.cublasLtMatrixLayoutDestroy(created)));
      return created;
    }

    void setBias(@Nullable Tensor bias) {
      if (bias != null) {
        pointer.set(ValueLayout.ADDRESS, 0, bias.address());
        CudaStatus.checkCublasLt(
            "cublasLtMatmulDescSetAttribute",
            CublasLt.cublasLtMatmulDescSetAttribute(
                description,
                CublasLt.CUBLASLT_MATMUL_DESC_BIAS_POINTER(),
                pointer,
                ValueLayout.ADDRESS.byteSize()));
      }
    }

    /** Returns the status. */
    int enqueue(MemorySegment algo, MemorySegment c, Tensor a, Tensor b) {
      return CublasLt.cublasLtMatmul(
          handle,
          description,
          one,
          b.address(),
          left,
          a.address(),
          right,
          problem.accumulate() == Accumulate.ADD ? one : zero,
          c,
          result,
          c,
          result,
          algo,
          workspace.segment(),
          workspace.sizeBytes(),
          stream);
    }

    void choose(Tensor c, Tensor a, Tensor b, @Nullable Tensor bias) {
      setBias(bias);
      int count = propose();
      int chosen = 0;
      String kind = problem.kind();
      byte[] kept = algorithms.get(kind);
      if (choice == MatmulChoice.TIMED && kept != null) {
        chosen = Math.max(0, indexOf(kept, count));
      } else if (choice == MatmulChoice.TIMED) {
        chosen = count == 1 ? 0 : fastest(count, c, a, b);
        algorithms.put(kind, candidate(chosen).toArray(ValueLayout.JAVA_BYTE));
      }
      algorithm = candidate(chosen).toArray(ValueLayout.JAVA_BYTE);
    }

    /** Fills {@link #candidates}, the most promising first, and returns their number. */
    private int propose() {
      CudaStatus.checkCublasLt(
          "cublasLtMatmulPreferenceCreate", CublasLt.cublasLtMatmulPreferenceCreate(pointer));
      MemorySegment preference = pointer.get(ValueLayout.ADDRESS, 0);
      try (Arena call = Arena.ofConfined()) {
        prefer(
            preference,
            CublasLt.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(),
            call.allocateFrom(ValueLayout.JAVA_LONG, workspace.sizeBytes()));
        prefer(
            preference,
            CublasLt.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK(),
            call.allocateFrom(
                ValueLayout.JAVA_INT,
                CublasLt.CUBLASLT_REDUCTION_SCHEME_NONE()
                    | CublasLt.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE()));
        int[][] alignments = {
          {CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), problem.alignedB()},
          {CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(), problem.alignedA()},
          {CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), problem.alignedC()},
          {CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(), problem.alignedC()}
        };
        for (int[] alignment : alignments) {
          prefer(preference, alignment[0], call.allocateFrom(ValueLayout.JAVA_INT, alignment[1]));
        }
        MemorySegment count = call.allocate(ValueLayout.JAVA_INT);
        CudaStatus.checkCublasLt(
            "cublasLtMatmulAlgoGetHeuristic for " + problem.kind(),
            CublasLt.cublasLtMatmulAlgoGetHeuristic(
                handle,
                description,
                left,
                right,
                result,
                result,
                preference,
                CANDIDATES,
                candidates,
                count));
        int found = count.get(ValueLayout.JAVA_INT, 0);
        if (found == 0) {
          throw new UnsupportedOperationException(
              "cuBLASLt has no algorithm for the product " + problem.kind());
        }
        return found;
      } finally {
        CudaStatus.checkCublasLt(
            "cublasLtMatmulPreferenceDestroy",
            CublasLt.cublasLtMatmulPreferenceDestroy(preference));
      }
    }

    private void prefer(MemorySegment preference, int attribute, MemorySegment value) {
      CudaStatus.checkCublasLt(
          "cublasLtMatmulPreferenceSetAttribute",
          CublasLt.cublasLtMatmulPreferenceSetAttribute(
              preference, attribute, value, value.byteSize()));
    }

    private MemorySegment candidate(int index) {
      return cublasLtMatmulHeuristicResult_t.algo(
          cublasLtMatmulHeuristicResult_t.asSlice(candidates, index));
    }

    private int indexOf(byte[] kept, int count) {
      for (int i = 0; i < count; i++) {
        if (Arrays.equals(kept, candidate(i).toArray(ValueLayout.JAVA_BYTE))) {
          return i;
        }
      }
      return -1;
    }

    /** The candidate of the shortest run. An output that is added to is left as it is. */
    private int fastest(int count, Tensor c, Tensor a, Tensor b) {
      if (problem.accumulate() == Accumulate.OVERWRITE) {
        return fastest(count, c.address(), a, b);
      }
      try (Buffer output = scratch.apply(spanBytes(c))) {
        return fastest(count, output.segment(), a, b);
      } catch (MemoryExhaustedException e) {
        warnings.accept(
            "%s: no memory to time algorithms, the first is taken".formatted(problem.kind()));
        return 0;
      }
    }

    private int fastest(int count, MemorySegment output, Tensor a, Tensor b) {
      int best = 0;
      float shortest = Float.POSITIVE_INFINITY;
      for (int i = 0; i < count; i++) {
        MemorySegment algo = candidate(i);
        // A candidate may fail on this device all the same; the others remain.
        if (enqueue(algo, output, a, b) != CublasLt.CUBLAS_STATUS_SUCCESS()) {
          continue;
        }
        start.record(stream);
        for (int run = 0; run < TIMED_RUNS; run++) {
          CudaStatus.checkCublasLt("cublasLtMatmul", enqueue(algo, output, a, b));
        }
        end.record(stream);
        end.await();
        float milliseconds = end.millisecondsSince(start);
        if (milliseconds < shortest) {
          shortest = milliseconds;
          best = i;
        }
      }
      return best;
    }

    @Override
    public void close() {
      destroy.forEach(Runnable::run);
      destroy.clear();
    }
  }

  /** Bytes from the first element of a matrix to the last. */
  private static long spanBytes(Tensor matrix) {
    long elements = (matrix.dim(0) - 1) * matrix.rowStride() + matrix.dim(1);
    return elements * matrix.dtype().sizeBytes();
  }

  private static int operation(Transpose transpose) {
    return transpose == Transpose.YES ? CublasLt.CUBLAS_OP_T() : CublasLt.CUBLAS_OP_N();
  }

  private static int cudaType(DType dtype) {
    return switch (dtype) {
      case F32 -> CublasLt.CUDA_R_32F();
      case BF16 -> CublasLt.CUDA_R_16BF();
      case F16, I32, U16, U8 ->
          throw new IllegalArgumentException("matmul: no products of " + dtype);
    };
  }
}
