package dev.gatun.bench;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/** The tensors of one benchmark, filled with numbers that are the same in each run. */
public final class OpTensors implements AutoCloseable {
  private static final long SEED = 42;

  /** Random numbers that the host makes at a time; larger tensors repeat them. */
  private static final int BLOCK = 1 << 20;

  private final Backend backend;
  private final List<Buffer> buffers = new ArrayList<>();
  private final SplittableRandom random = new SplittableRandom(SEED);

  /** Of memory of {@code backend}, which stays the caller's. */
  public OpTensors(Backend backend) {
    this.backend = backend;
  }

  Backend backend() {
    return backend;
  }

  /** A tensor of zeros. */
  public Tensor zeros(String name, DType dtype, long... shape) {
    long count = 1;
    for (long extent : shape) {
      count = Math.multiplyExact(count, extent);
    }
    return new Tensor(
        name, dtype, shape, buffer(name, Math.multiplyExact(count, dtype.sizeBytes())), 0);
  }

  /** Memory that is released with the tensors. */
  Buffer buffer(String name, long sizeBytes) {
    Buffer buffer = backend.allocate(name, sizeBytes);
    buffers.add(buffer);
    return buffer;
  }

  /** A tensor of numbers from -1 to 1. */
  public Tensor uniform(String name, DType dtype, long... shape) {
    Tensor tensor = zeros(name, dtype, shape);
    long count = tensor.elementCount();
    int block = Math.toIntExact(Math.min(count, BLOCK));
    float[] values = new float[block];
    for (int i = 0; i < block; i++) {
      values[i] = (float) random.nextDouble(-1, 1);
    }
    try (Buffer memory = backend.allocate(name, (long) Float.BYTES * block)) {
      Tensor wide = new Tensor(name, DType.F32, new long[] {block}, memory, 0);
      backend.upload(wide, values);
      for (long begin = 0; begin < count; begin += block) {
        long part = Math.min(block, count - begin);
        backend.cast(tensor.view(name, begin, part), wide.view(name, 0, part));
      }
      backend.synchronize();
    }
    return tensor;
  }

  Tensor integers(String name, int... values) {
    Tensor tensor = zeros(name, DType.I32, values.length);
    backend.upload(tensor, values);
    return tensor;
  }

  /** Frees the tensors. */
  @Override
  public void close() {
    backend.synchronize();
    buffers.forEach(Buffer::close);
  }
}
