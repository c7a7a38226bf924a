package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Holds the CPU to what it says of its bits: a row of a product is the same in every product with
 * enough rows. Scores of references are shared between runs on this word.
 */
class NumericsTest {
  private static final int ROWS = 600;

  /** Around every multiple at which tiles are cut, and where the last tile has few rows. */
  private static final int[] COUNTS = {
    8, 9, 17, 18, 24, 31, 33, 49, 64, 65, 79, 81, 97, 113, 129, 144, 193, 257, 258, 385, 513, 577
  };

  // [columns, k] of the small models that people train on CPUs, and odd ones.
  @ParameterizedTest
  @CsvSource({
    "288, 288",
    "864, 288",
    "288, 768",
    "576, 576",
    "192, 576",
    "3072, 576",
    "576, 1536",
    "4096, 288",
    "100, 37",
    "64, 64",
    "130, 2050",
    "512, 4096"
  })
  void rowsAreAsIndependentAsIsSaid(int columns, int k) {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(2, null))) {
      for (DType operands : new DType[] {DType.F32, DType.BF16}) {
        int fewest = backend.numerics(operands).independentRows();
        for (DType result : new DType[] {operands, DType.F32}) {
          check(backend, operands, result, columns, k, fewest);
        }
      }
    }
  }

  private static void check(
      CpuBackend backend, DType operands, DType result, int columns, int k, int fewest) {
    long bytes = 4L * ((long) ROWS * k + (long) columns * k) + 8L * ROWS * columns + 4096;
    try (Buffer buffer = backend.allocate("products", 2 * bytes)) {
      Slab slab = new Slab(buffer);
      Tensor a = random(backend, slab, operands, ROWS, k, 1);
      Tensor b = random(backend, slab, operands, columns, k, 2);
      Tensor whole = slab.allocate("whole", result, ROWS, columns);
      Tensor part = slab.allocate("part", result, ROWS, columns);
      multiply(backend, whole, a, b);
      for (int count : COUNTS) {
        if (count < fewest) {
          continue;
        }
        for (int first : new int[] {0, 5, ROWS - count}) {
          multiply(backend, part.rows(0, count), a.rows(first, count), b);
          float[] expected = backend.downloadF32(whole.rows(first, count));
          float[] actual = backend.downloadF32(part.rows(0, count));
          for (int i = 0; i < actual.length; i++) {
            if (Float.floatToRawIntBits(actual[i]) != Float.floatToRawIntBits(expected[i])) {
              throw new AssertionError(
                  "%s to %s, k %d: row %d of %d rows differs from the same in a product of %d"
                      .formatted(operands, result, k, i / columns, count, ROWS));
            }
          }
        }
      }
    }
  }

  private static void multiply(CpuBackend backend, Tensor c, Tensor a, Tensor b) {
    backend.matmul(c, a, Transpose.NO, b, Transpose.YES, null, Accumulate.OVERWRITE);
  }

  private static Tensor random(
      CpuBackend backend, Slab slab, DType dtype, int rows, int columns, long seed) {
    Random random = new Random(seed);
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    Tensor tensor = slab.allocate("operand", dtype, rows, columns);
    Tensor exact = slab.allocate("operand in f32", DType.F32, rows, columns);
    backend.upload(exact, values);
    backend.cast(tensor, exact);
    return tensor;
  }

  @Test
  void theIdentityNamesWhatChangesBits() {
    try (CpuBackend two = CpuBackend.create(new CpuOptions(2, null));
        CpuBackend three = CpuBackend.create(new CpuOptions(3, null));
        CpuBackend older = CpuBackend.create(new CpuOptions(2, "v2"))) {
      String identity = two.numerics(DType.F32).identity();
      assertEquals(identity, three.numerics(DType.F32).identity(), "threads change no bit");
      assertNotEquals(identity, older.numerics(DType.F32).identity());
      assertTrue(identity.contains("libgatun_cpu"), identity);
    }
  }
}
