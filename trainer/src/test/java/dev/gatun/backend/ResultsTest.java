package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

final class ResultsTest {
  private static List<Backend> backends() {
    return List.of(
        CpuBackend.create(CpuOptions.DEFAULT),
        CudaBackend.create(CudaOptions.DEFAULT.withCacheFolder(null)));
  }

  private static long bytes() {
    Slab planner = Slab.planner();
    planner.allocate("floats", DType.F32, 3);
    planner.allocate("ints", DType.I32, 5);
    planner.allocate("floats again", DType.F32, 3);
    return planner.highWaterBytes();
  }

  /** Copies hold what the tensors held when they were kept; nothing is left of the step before. */
  @Test
  void whatIsKeptIsReadTogether() {
    for (Backend backend : backends()) {
      try (backend;
          Buffer buffer = backend.allocate("tensors", 1024);
          Results results = new Results(backend, bytes())) {
        Tensor floats = new Tensor("floats", DType.F32, new long[] {3}, buffer, 0);
        Tensor ints = new Tensor("ints", DType.I32, new long[] {5}, buffer, 512);
        for (int step = 1; step <= 2; step++) {
          results.clear();
          backend.upload(floats, new float[] {step, -0.5f, Float.NaN});
          Results.Kept first = results.keep(floats);
          backend.upload(ints, new int[] {step, -1, Integer.MIN_VALUE, 0, Integer.MAX_VALUE});
          Results.Kept second = results.keep(ints);
          backend.upload(floats, new float[] {7, 8, 9});
          Results.Kept third = results.keep(floats);
          backend.zero(floats);
          results.read();

          assertArrayEquals(new float[] {7, 8, 9}, results.f32(third));
          assertArrayEquals(new float[] {step, -0.5f, Float.NaN}, results.f32(first));
          assertArrayEquals(
              new int[] {step, -1, Integer.MIN_VALUE, 0, Integer.MAX_VALUE}, results.i32(second));
        }
      }
    }
  }

  @Test
  void tensorsWithoutElementsCanBeKept() {
    for (Backend backend : backends()) {
      try (backend;
          Buffer buffer = backend.allocate("tensors", 64);
          Results results = new Results(backend, bytes())) {
        Tensor floats = new Tensor("floats", DType.F32, new long[] {3}, buffer, 0);
        backend.upload(floats, new float[] {1, 2, 3});
        Results.Kept nothing =
            results.keep(new Tensor("nothing", DType.F32, new long[] {0, 4}, buffer, 0));
        Results.Kept kept = results.keep(floats);
        results.read();
        assertArrayEquals(new float[0], results.f32(nothing));
        assertArrayEquals(new float[] {1, 2, 3}, results.f32(kept));
      }
    }
  }

  @Test
  void misuseIsNamed() {
    for (Backend backend : backends()) {
      try (backend;
          Buffer buffer = backend.allocate("tensors", 1024);
          Results results = new Results(backend, bytes())) {
        Tensor floats = new Tensor("floats", DType.F32, new long[] {3}, buffer, 0);
        Results.Kept kept = results.keep(floats);
        assertEquals(
            "results: floats was not read yet",
            assertThrows(IllegalStateException.class, () -> results.f32(kept)).getMessage());
        results.read();
        assertEquals(
            "results: floats is f32, expected i32",
            assertThrows(IllegalStateException.class, () -> results.i32(kept)).getMessage());
        assertEquals(
            "results: floats is to be kept after the results were read, expected clear() before",
            assertThrows(IllegalStateException.class, () -> results.keep(floats)).getMessage());
        results.clear();
        assertThrows(
            GatunException.class,
            () -> results.keep(new Tensor("too much", DType.F32, new long[] {256}, buffer, 0)));
      }
    }
  }
}
