package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.selftest.TransferContract;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** Casts, against Java's own: every bf16 and f16 there is, and f32 around them. */
final class CastTest {
  private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16};

  @BackendTest
  void everyNarrowValue(BackendCase backendCase) {
    for (DType from : new DType[] {DType.BF16, DType.F16}) {
      for (DType to : TYPES) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          TransferContract.everyNarrowValue(device, from, to);
        }
      }
    }
  }

  @BackendTest
  void roundsToNearestEven(BackendCase backendCase) {
    for (int count : new int[] {1, 15, 16, 17, 4099}) {
      for (DType to : TYPES) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          TransferContract.fromF32(device, count, to);
        }
      }
    }
  }

  @Test
  void copiesAndTransfers() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Backend backend = device.backend();
      Tensor x = device.output("x", DType.F32, 3);
      backend.upload(x, new float[] {1, 2, 3});
      Tensor y = device.output("y", DType.F32, 3, 1);
      backend.copy(y, x);
      device.assertExact(y, new double[] {1, 2, 3});
      backend.zero(x);
      device.assertExact(x, new double[3]);
      Tensor ids = device.output("ids", DType.I32, 2);
      backend.upload(ids, new int[] {-1, Integer.MAX_VALUE});
      device.assertExact(ids, new double[] {-1, Integer.MAX_VALUE});
    }
  }
}
