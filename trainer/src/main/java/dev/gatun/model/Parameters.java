package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * All values of one role (policy, reference, gradient) of a model: one contiguous off-heap slab in
 * the order of a {@link ParameterLayout}. Padding is zero and stays zero.
 */
public final class Parameters implements AutoCloseable {
  private final ParameterLayout layout;
  private final DType dtype;
  private final Buffer buffer;
  private final Tensor all;

  /** A slab of zeros on the backend's device. */
  public Parameters(Backend backend, String role, ParameterLayout layout, DType dtype) {
    this.layout = layout;
    this.dtype = dtype;
    this.buffer =
        backend.allocate(role, Math.multiplyExact(layout.elementCount(), dtype.sizeBytes()));
    this.all = new Tensor(role, dtype, new long[] {layout.elementCount()}, buffer, 0);
  }

  public ParameterLayout layout() {
    return layout;
  }

  public DType dtype() {
    return dtype;
  }

  /** The slab as one vector {@code [layout.elementCount()]}. */
  public Tensor all() {
    return all;
  }

  /** The tensor of this Hugging Face name, in its own shape. */
  public Tensor get(String name) {
    Parameter parameter = layout.get(name);
    return all.view(name, parameter.offset(), parameter.shape());
  }

  /** As {@link #get(String)}, or null if the model has no such parameter. */
  @Nullable Tensor find(String name) {
    return layout.contains(name) ? get(name) : null;
  }

  /**
   * Tensors that lie end to end, as one tensor: {@code [sum of rows, columns]} for matrices, {@code
   * [sum]} for vectors. Null if the model has none of them.
   */
  @Nullable Tensor fused(List<String> names) {
    if (!layout.contains(names.getFirst())) {
      return null;
    }
    Parameter first = layout.get(names.getFirst());
    long[] shape = first.shape().clone();
    long end = first.offset() + first.elementCount();
    for (String name : names.subList(1, names.size())) {
      Parameter next = layout.get(name);
      if (next.offset() != end) {
        throw new IllegalStateException(name + " does not follow " + names.getFirst());
      }
      shape[0] += next.shape()[0];
      end += next.elementCount();
    }
    return all.view(String.join("+", names), first.offset(), shape);
  }

  /** Frees the slab. */
  @Override
  public void close() {
    buffer.close();
  }
}
