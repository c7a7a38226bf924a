package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A device that computes: its memory, matrix products, and kernels. Operations take effect in the
 * order of the calls, on a GPU perhaps after they return; what hands results to the host waits for
 * them. Tensors that it is given lie in memory that it allocated.
 *
 * <p>Not for concurrent use. Results depend on the arguments only, not on threads or timing.
 */
public sealed interface Backend extends AutoCloseable permits CpuBackend, CudaBackend {
  /** The backend's word on the command line: {@code cpu}, {@code cuda}. */
  String name();

  /** One line for people: threads, instruction set, library of matrix products. */
  String description();

  /** Lines that a user should see before a run; none as a rule. */
  default List<String> notes() {
    return List.of();
  }

  /** Allocates zeroed memory on the device, aligned to 64 bytes. The caller closes it. */
  Buffer allocate(String name, long sizeBytes);

  /** Sets every element to zero. {@code tensor} is contiguous. */
  void zero(Tensor tensor);

  /** dst = src: same type and number of elements, both contiguous, not overlapping. */
  void copy(Tensor dst, Tensor src);

  /** Copies {@code src} from host memory; it has exactly the bytes of {@code dst}. */
  void upload(Tensor dst, MemorySegment src);

  /** Copies {@code src} to a f32 tensor of as many elements. */
  void upload(Tensor dst, float[] src);

  /** Copies {@code src} to an i32 tensor of as many elements. */
  void upload(Tensor dst, int[] src);

  /**
   * Bytes of a contiguous tensor in host memory, read-only and valid until the next call: where the
   * device is the host, those of the tensor itself.
   */
  ByteBuffer hostView(Tensor src, long offsetBytes, long sizeBytes);

  /** Copies to host memory; {@code dst} has exactly the bytes of {@code src}. */
  void download(MemorySegment dst, Tensor src);

  /** The elements of a f32, bf16 or f16 tensor, which f32 holds exactly. */
  float[] downloadF32(Tensor src);

  /** The elements of an i32 tensor. */
  int[] downloadI32(Tensor src);

  /** dst[i] = src[i], rounded to nearest even; f32, bf16 and f16, both contiguous. */
  void cast(Tensor dst, Tensor src);

  /**
   * c = op(a) op(b) + bias (+ c). Sums are f32.
   *
   * @param c {@code [m, n]}; f32 or the type of a
   * @param a {@code [m, k]}, or {@code [k, m]} if transposed; f32 or bf16
   * @param b {@code [k, n]}, or {@code [n, k]} if transposed; type of a
   * @param bias {@code [n]}; type of a
   */
  void matmul(
      Tensor c,
      Tensor a,
      Transpose transposeA,
      Tensor b,
      Transpose transposeB,
      @Nullable Tensor bias,
      Accumulate accumulate);

  /** The kernel table on this device. */
  Kernels kernels();

  /** Who computes attention: the device's own kernels until {@link #planAttention} chooses. */
  AttentionProvider attention();

  /**
   * Chooses who computes the attention of a run, and reserves what that takes.
   *
   * @return the choice and its reason, for people
   * @throws CudnnUnsupportedException if the one that was asked for cannot
   */
  String planAttention(AttentionImplementation implementation, AttentionRun run);

  /**
   * Makes the workspace of kernels suffice for every call with at most these extents. It lives as
   * long as the backend and never shrinks. To be called when a run is planned: a step allocates
   * nothing, and a kernel that needs more than was reserved fails.
   *
   * @param rows tokens, key rows or predictions
   * @param columns the largest of hidden, intermediate, heads * headDim and vocabulary
   */
  void reserveWorkspace(long rows, long columns);

  /**
   * Does work that may repeat. A GPU may enqueue it again without running {@code work}: work of
   * equal keys asks for the same operations, with the same arguments, on the same memory, and has
   * no other effect. It reads what changes from device memory; what it hands to the device or takes
   * from it comes before or after.
   */
  default void replay(ReplayKey key, Runnable work) {
    work.run();
  }

  /** Lines that a user should see after a run; none as a rule. */
  default List<String> summary() {
    return List.of();
  }

  /** What this backend takes for itself. */
  BackendMemory memory();

  /**
   * What the bits of a forward pass depend on, with products of these operands, once {@link
   * #planAttention} has chosen.
   */
  Numerics numerics(DType operands);

  /**
   * Type of operands whose products are the fastest: bf16 where the device multiplies it in
   * hardware, else f32, to which bf16 is widened.
   */
  DType fastestOperands();

  /** Returns when everything asked for so far is done. */
  void synchronize();

  /** Shows the calling thread's work as {@code name} in a profiler until the range is closed. */
  Range range(String name);

  /** A range of work; see {@link Backend#range}. */
  interface Range extends AutoCloseable {
    @Override
    void close();
  }

  /** From now on ranges are timed, on a GPU by the GPU; each range then costs two marks. */
  void startTiming();

  /**
   * Waits for everything asked for so far, and ends what {@link #startTiming} began.
   *
   * @throws IllegalStateException if nothing began
   */
  RangeTimes stopTiming();

  /**
   * The most memory that was in use at a time: on a GPU what this backend allocated there, on a
   * processor the whole process; empty where the system does not tell.
   */
  OptionalLong peakBytes();

  /** A profiler that waits for this begins to record. */
  void startProfiler();

  /** The profiler stops recording. */
  void stopProfiler();

  /** Frees the workspace. */
  @Override
  void close();
}
