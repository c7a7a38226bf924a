package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import dev.gatun.memory.ReleasedException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

final class CpuBackendTest {
  @Test
  void describesItself() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(2, null))) {
      assertEquals("cpu", backend.name());
      assertEquals(2, backend.threads());
      assertTrue(
          backend
              .description()
              .matches(
                  "cpu: 2 threads( on \\d+ NUMA nodes[a-z, ]*)?, kernels for \\S+, oneDNN 3\\.\\d+\\.\\d+"),
          backend.description());
    }
  }

  @Test
  void anUnknownInstructionSetIsNamed() {
    BackendUnavailableException e =
        assertThrows(
            BackendUnavailableException.class, () -> CpuBackend.create(new CpuOptions(1, "v9")));
    assertTrue(e.getMessage().startsWith("cpu: ") && e.getMessage().contains("v9"), e.getMessage());
  }

  @Test
  void negativeThreadsAreRefused() {
    assertEquals(
        "cpu: threads is -1, expected >= 0",
        assertThrows(IllegalArgumentException.class, () -> new CpuOptions(-1, null)).getMessage());
  }

  @Test
  void nativeFailuresCarryFunctionStatusAndText() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Buffer buffer = backend.allocate("x", 64)) {
      Tensor x = new Tensor("x", DType.F32, new long[] {4}, buffer, 0);
      NativeException e =
          assertThrows(
              NativeException.class,
              () -> backend.kernels().residualForward(x, x, x, -1, DType.F32));
      assertEquals("residual_forward", e.function());
      assertEquals(1, e.status());
      assertTrue(
          e.getMessage().startsWith("residual_forward: GATUN_INVALID_ARGUMENT (1): "),
          e.getMessage());
      assertTrue(e.getMessage().contains("count is -1"), e.getMessage());
    }
  }

  @Test
  void aStepAllocatesNoWorkspace() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Buffer buffer = backend.allocate("x", 1 << 16)) {
      Tensor gradient = new Tensor("gradient", DType.F32, new long[] {4}, buffer, 0);
      Tensor norm = new Tensor("norm", DType.F32, new long[] {2}, buffer, 64);
      GatunException e =
          assertThrows(
              GatunException.class, () -> backend.kernels().gradnorm(norm, gradient, 4, 0));
      assertTrue(
          e.getMessage()
              .matches(
                  "gradnorm: workspace has 0 bytes, expected \\d+;"
                      + " reserve it for the largest extents of the run"),
          e.getMessage());
      backend.reserveWorkspace(8, 8);
      backend.kernels().gradnorm(norm, gradient, 4, 0);
      backend.reserveWorkspace(1, 1);
      backend.kernels().gradnorm(norm, gradient, 4, 0);
      assertArrayEquals(new float[] {0, 1}, backend.downloadF32(norm));
    }
  }

  @Test
  void closedTensorsNeverReachAKernel() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null))) {
      Buffer buffer = backend.allocate("activations", 64);
      Tensor x = new Tensor("x", DType.F32, new long[] {4}, buffer, 0);
      buffer.close();
      assertEquals(
          "x in activations: used after close",
          assertThrows(
                  ReleasedException.class,
                  () -> backend.kernels().residualForward(x, x, x, 4, DType.F32))
              .getMessage());
    }
  }

  @Test
  void transfersCheckTypesAndSizes() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Buffer buffer = backend.allocate("x", 64)) {
      Tensor x = new Tensor("x", DType.F32, new long[] {2, 2}, buffer, 0);
      Tensor strided = x.columns("column", 0, 1);
      assertEquals(
          "upload: x [2, 2] f32, expected i32", message(() -> backend.upload(x, new int[4])));
      assertEquals(
          "upload: x [2, 2] f32 has 16 bytes, host memory has 12",
          message(() -> backend.upload(x, new float[3])));
      assertEquals(
          "zero: column [2, 1] f32 has gaps between rows, expected contiguous",
          message(() -> backend.zero(strided)));
      assertEquals("download: x [2, 2] f32, expected i32", message(() -> backend.downloadI32(x)));
      assertEquals(
          "copy: column [2, 1] f32 has gaps between rows, expected contiguous",
          message(() -> backend.copy(strided, x)));
      Tensor narrow = x.reinterpret("narrow", DType.BF16, 4);
      assertEquals(
          "copy: narrow [4] bf16, expected the type and number of elements of x [2, 2] f32",
          message(() -> backend.copy(narrow, x)));
      float[] host = {1, 2, 3, 4};
      backend.upload(x, MemorySegment.ofArray(host));
      assertArrayEquals(host, backend.downloadF32(x));
    }
  }

  @Test
  void productsCheckShapes() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Buffer buffer = backend.allocate("x", 256)) {
      Tensor a = new Tensor("a", DType.F32, new long[] {2, 3}, buffer, 0);
      Tensor b = new Tensor("b", DType.F32, new long[] {4, 3}, buffer, 64);
      Tensor c = new Tensor("c", DType.F32, new long[] {2, 4}, buffer, 128);
      backend.matmul(c, a, Transpose.NO, b, Transpose.YES, null, Accumulate.OVERWRITE);
      assertEquals(
          "matmul: a [2, 3] f32, b [4, 3] f32, c [2, 4] f32 and bias null do not fit",
          message(
              () ->
                  backend.matmul(c, a, Transpose.NO, b, Transpose.NO, null, Accumulate.OVERWRITE)));
    }
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
