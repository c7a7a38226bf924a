package dev.gatun.train;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.backend.Transpose;
import dev.gatun.memory.Buffer;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.concurrent.TimeUnit;

/**
 * The rate of large matrix products on this device: what model FLOP utilization is measured by. The
 * best of all repetitions of all sizes, so that what else the machine does can only make it too
 * low, and a utilization too high, if it never pauses for the length of one product.
 */
final class MatmulCeiling {
  private static final int SMALLEST = 1024;
  private static final int LARGEST = 8192;

  /** A product that takes this long keeps any device busy: larger ones are not faster. */
  private static final long LONG_ENOUGH_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

  /** As much as the start of a run can spare. */
  private static final long BRIEF_NANOS = TimeUnit.MILLISECONDS.toNanos(200);

  private static final long THOROUGH_NANOS = TimeUnit.MILLISECONDS.toNanos(500);

  private MatmulCeiling() {}

  /** Floating-point operations per second, measured as long as a training run can spare. */
  static double measure(Backend backend, DType dtype) {
    return measure(backend, dtype, BRIEF_NANOS);
  }

  /** Floating-point operations per second, measured long enough to be compared with. */
  static double measureThoroughly(Backend backend, DType dtype) {
    return measure(backend, dtype, THOROUGH_NANOS);
  }

  /**
   * @param nanosPerSize how long each size is repeated
   */
  private static double measure(Backend backend, DType dtype, long nanosPerSize) {
    double best = 0;
    for (int size = SMALLEST; size <= LARGEST; size *= 2) {
      long nanos;
      try {
        nanos = fastest(backend, dtype, size, nanosPerSize);
      } catch (MemoryExhaustedException e) {
        if (size == SMALLEST) {
          throw e;
        }
        break; // What the smaller sizes reached stands.
      }
      best = Math.max(best, 2.0 * size * size * size / (nanos * 1e-9));
      if (nanos > LONG_ENOUGH_NANOS || 8 * nanos > nanosPerSize) {
        break;
      }
    }
    return best;
  }

  /** Nanoseconds of the fastest {@code size^3} product. */
  private static long fastest(Backend backend, DType dtype, int size, long nanosPerSize) {
    Slab planner = Slab.planner();
    allocate(planner, dtype, size);
    try (Buffer buffer = backend.allocate("matmul ceiling", planner.highWaterBytes())) {
      Tensor[] abc = allocate(new Slab(buffer), dtype, size);
      backend.synchronize();
      long best = Long.MAX_VALUE;
      long first = System.nanoTime();
      do {
        long begin = System.nanoTime();
        backend.matmul(
            abc[2], abc[0], Transpose.NO, abc[1], Transpose.YES, null, Accumulate.OVERWRITE);
        backend.synchronize();
        best = Math.min(best, System.nanoTime() - begin);
      } while (System.nanoTime() - first < nanosPerSize);
      return best;
    }
  }

  private static Tensor[] allocate(Slab slab, DType dtype, int size) {
    return new Tensor[] {
      slab.allocate("a", dtype, size, size),
      slab.allocate("b", dtype, size, size),
      slab.allocate("c", dtype, size, size)
    };
  }
}
