package dev.gatun.backend;

import dev.gatun.memory.GatunException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * What the host wants to know of a step. Copies of tensors gather in device memory, in the order of
 * the step's work, and come to the host all at once: {@link #read} is where the host waits for the
 * device, once a step.
 */
public final class Results implements AutoCloseable {
  /** A copy of a tensor, by its place among the results. */
  public record Kept(String name, DType dtype, long offsetBytes, int count) {}

  private final Backend backend;
  private final Slab slab;
  private @Nullable ByteBuffer host;

  /**
   * @param sizeBytes of all that is kept between two {@link #clear}s; see {@link Slab#planner}
   */
  public Results(Backend backend, long sizeBytes) {
    this.backend = backend;
    this.slab = new Slab(backend.allocate("step results", sizeBytes));
  }

  /** Bytes of device memory. */
  public long sizeBytes() {
    return slab.buffer().sizeBytes();
  }

  /** Forgets everything: a step begins. */
  public void clear() {
    slab.reset(0);
    host = null;
  }

  /**
   * Copies a contiguous f32 or i32 tensor, as the work enqueued so far leaves it.
   *
   * @throws GatunException if there is no room, which is a defect of the plan
   */
  public Kept keep(Tensor tensor) {
    if (host != null) {
      throw new IllegalStateException(
          "results: %s is to be kept after the results were read, expected clear() before"
              .formatted(tensor.name()));
    }
    long offset = slab.mark();
    Tensor copy = slab.allocate(tensor.name(), tensor.dtype(), tensor.shape());
    if (tensor.elementCount() > 0) {
      backend.copy(copy, tensor);
    }
    return new Kept(tensor.name(), tensor.dtype(), offset, Math.toIntExact(tensor.elementCount()));
  }

  /** Waits until all enqueued work is done, and brings the results to the host. */
  public void read() {
    Tensor all =
        new Tensor(
            "step results",
            DType.I32,
            new long[] {sizeBytes() / DType.I32.sizeBytes()},
            slab.buffer(),
            0);
    host = backend.hostView(all, 0, slab.mark()).order(ByteOrder.nativeOrder());
  }

  /** Elements of an f32 tensor, after {@link #read}. */
  public float[] f32(Kept kept) {
    float[] values = new float[kept.count()];
    bytes(kept, DType.F32).asFloatBuffer().get(values);
    return values;
  }

  /** Elements of an i32 tensor, after {@link #read}. */
  public int[] i32(Kept kept) {
    int[] values = new int[kept.count()];
    bytes(kept, DType.I32).asIntBuffer().get(values);
    return values;
  }

  private ByteBuffer bytes(Kept kept, DType dtype) {
    if (host == null) {
      throw new IllegalStateException("results: %s was not read yet".formatted(kept.name()));
    }
    if (kept.dtype() != dtype) {
      throw new IllegalStateException(
          "results: %s is %s, expected %s".formatted(kept.name(), kept.dtype(), dtype));
    }
    return host.slice(
            Math.toIntExact(kept.offsetBytes()),
            Math.multiplyExact(kept.count(), dtype.sizeBytes()))
        .order(ByteOrder.nativeOrder());
  }

  /** Frees the device memory. */
  @Override
  public void close() {
    slab.close();
  }
}
