package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.AttentionContract;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class AttentionTest {
  @BackendTest
  void bothPassesOfHeadSizesAndOptions(BackendCase backendCase) {
    for (int headDim : new int[] {8, 16, 24, 64, 72, 128, 256}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        AttentionContract.mixed(device, 4, 2, headDim, new AttentionOptions(0.25f, 0, 0));
      }
    }
    for (AttentionOptions options :
        new AttentionOptions[] {
          new AttentionOptions(0.3f, 2, 0),
          new AttentionOptions(0.3f, 0, 1),
          new AttentionOptions(0.3f, 0, 5),
          new AttentionOptions(0.3f, 1.5f, 7)
        }) {
      for (int kvHeads : new int[] {1, 3, 6}) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          AttentionContract.mixed(device, 6, kvHeads, 16, options);
        }
      }
    }
  }

  /** Around the sizes of the kernels' blocks. */
  @BackendTest
  void lengthsAroundBlocks(BackendCase backendCase) {
    for (int length : new int[] {1, 2, 15, 16, 17, 47, 48, 49, 63, 64, 65, 127, 129, 193}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        AttentionContract.check(
            device,
            new int[] {0, length, 0, length},
            length,
            length,
            2,
            2,
            8,
            new AttentionOptions(0.5f, 0, 0));
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    int[] segments = {0, 150, 0, 150, 150, 61, 150, 161, 211, 90, 311, 90};
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device ->
            AttentionContract.check(
                device, segments, 301, 401, 8, 2, 32, new AttentionOptions(0.2f, 0, 0)));
  }

  @Test
  void handComputed() {
    // One head of 8, two keys with scores 0 and ln 3: probabilities 1/4 and 3/4.
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor q = device.given("q", DType.F32, row(0, 1), 1, 1, 8);
      double[] keys = new double[16];
      keys[8] = Math.log(3);
      Tensor k = device.given("k", DType.F32, keys, 2, 1, 8);
      double[] values = new double[16];
      values[3] = 4;
      values[11] = 8;
      Tensor v = device.given("v", DType.F32, values, 2, 1, 8);
      Tensor out = device.output("out", DType.F32, 1, 8);
      Tensor lse = device.output("lse", DType.F32, 1, 1);
      Attention.forward(
          device.backend(),
          out,
          lse,
          q,
          k,
          v,
          segments(device, 0, 1, 0, 2),
          new AttentionOptions(1, 0, 0));
      device.assertClose(out, row(3, 7), 8, 8);
      device.assertClose(lse, new double[] {Math.log(4)}, 8, 2);
    }
  }

  private static double[] row(int at, double value) {
    double[] row = new double[8];
    row[at] = value;
    return row;
  }

  @Test
  void segmentsAreChecked() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      assertEquals(
          "attention: segment 1 is queries [2, +3) over keys [2, +2),"
              + " expected keyLength >= queryLength >= 1 and no negative begin",
          message(() -> segments(device, 0, 2, 0, 2, 2, 3, 2, 2)));
      assertEquals(
          "attention: segments have overlapping queries",
          message(() -> segments(device, 0, 2, 0, 2, 1, 1, 2, 2)));
      assertEquals(
          "attention: segments have 3 numbers, expected 4 for each",
          message(() -> segments(device, 0, 2, 0)));
      Tensor q = device.normal("q", DType.F32, 4, 2, 8);
      Tensor k = device.normal("k", DType.F32, 4, 2, 8);
      Tensor lse = device.normal("lse", DType.F32, 4, 2);
      AttentionOptions options = new AttentionOptions(1, 0, 0);
      assertEquals(
          "attention: segments have keys up to row 5, k has 4 rows",
          message(
              () ->
                  Attention.forward(
                      device.backend(), q, null, q, k, k, segments(device, 0, 4, 0, 5), options)));
      assertEquals(
          "attention: segments share keys, expected disjoint for gradients",
          message(
              () ->
                  Attention.backward(
                      device.backend(),
                      q,
                      k,
                      k,
                      q,
                      q,
                      lse,
                      q,
                      k,
                      k,
                      segments(device, 0, 2, 0, 2, 2, 1, 1, 2),
                      options)));
    }
  }

  private static Segments segments(TestDevice device, int... fields) {
    Tensor table = device.output("segments", DType.I32, Math.ceilDiv(fields.length, 4), 4);
    return Segments.upload(device.backend(), table, fields);
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
