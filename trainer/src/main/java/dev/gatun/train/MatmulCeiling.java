package dev.gatun.train;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.backend.Transpose;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;

/** The rate of large matrix products on this device: what model FLOP utilization is measured by. */
final class MatmulCeiling {
  private static final int SIZE = 1024;
  private static final int ROUNDS = 12;

  private MatmulCeiling() {}

  /** Floating-point operations per second of the best of a few {@code SIZE^3} products. */
  static double measure(Backend backend, DType dtype) {
    Slab planner = Slab.planner();
    allocate(planner, dtype);
    try (Buffer buffer = backend.allocate("matmul ceiling", planner.highWaterBytes())) {
      Tensor[] abc = allocate(new Slab(buffer), dtype);
      long best = Long.MAX_VALUE;
      for (int i = 0; i < ROUNDS; i++) {
        long begin = System.nanoTime();
        backend.matmul(
            abc[2], abc[0], Transpose.NO, abc[1], Transpose.YES, null, Accumulate.OVERWRITE);
        backend.synchronize();
        best = Math.min(best, System.nanoTime() - begin);
      }
      return 2.0 * SIZE * SIZE * SIZE / (best * 1e-9);
    }
  }

  private static Tensor[] allocate(Slab slab, DType dtype) {
    return new Tensor[] {
      slab.allocate("a", dtype, SIZE, SIZE),
      slab.allocate("b", dtype, SIZE, SIZE),
      slab.allocate("c", dtype, SIZE, SIZE)
    };
  }
}
