package dev.gatun.benchmarks;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A backend and the tensors of one benchmark, filled with numbers that are the same in each run.
 */
final class OpTensors implements AutoCloseable {
  private static final long SEED = 42;

  private final Backend backend;
  private final List<Buffer> buffers = new ArrayList<>();
  private final SplittableRandom random = new SplittableRandom(SEED);

  OpTensors(int threads) {
    backend = CpuBackend.create(new CpuOptions(threads, null));
  }

  Backend backend() {
    return backend;
  }

  /** A tensor of zeros. */
  Tensor zeros(String name, DType dtype, long... shape) {
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
  Tensor uniform(String name, DType dtype, long... shape) {
    Tensor wide = zeros(name, DType.F32, shape);
    float[] values = new float[Math.toIntExact(wide.elementCount())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextDouble(-1, 1);
    }
    backend.upload(wide, values);
    if (dtype == DType.F32) {
      return wide;
    }
    Tensor narrow = zeros(name, dtype, shape);
    backend.cast(narrow, wide);
    return narrow;
  }

  Tensor integers(String name, int... values) {
    Tensor tensor = zeros(name, DType.I32, values.length);
    backend.upload(tensor, values);
    return tensor;
  }

  @Override
  public void close() {
    buffers.forEach(Buffer::close);
    backend.close();
  }
}
