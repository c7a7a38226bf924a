package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.Place;
import dev.gatun.selftest.RopeContract;
import dev.gatun.selftest.RopeContract.Rotation;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class RopeTest {
  @BackendTest
  void bothPassesOfAllHeadSizes(BackendCase backendCase) {
    for (int headDim : new int[] {2, 4, 6, 8, 14, 16, 18, 30, 32, 34, 62, 64, 66, 128}) {
      for (int tokens : Sizes.ROWS) {
        for (Rotation rotation : Rotation.values()) {
          for (Place place : Place.values()) {
            try (TestDevice device = TestDevice.open(backendCase)) {
              RopeContract.check(device, tokens, 6, 2, headDim, rotation, place);
            }
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase,
        device -> RopeContract.check(device, 257, 9, 3, 64, Rotation.BY_POSITION, Place.APART));
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor q = device.normal("q", DType.F32, 2, 4, 6);
      Tensor k = device.normal("k", DType.F32, 2, 2, 6);
      Tensor wide = device.stridedNormal("v", DType.F32, 0, 1, 2, 2, 6);
      Tensor cos = device.normal("cos", DType.F32, 9, 4);
      Tensor ids = device.given("ids", 0, 1);
      assertEquals(
          "rope: v has 13 elements between rows, expected 12 as k has",
          message(device, q, k, wide, null, ids));
      assertEquals(
          "rope: cos without sin, expected both or neither", message(device, q, k, k, cos, ids));
    }
  }

  private static String message(
      TestDevice device, Tensor q, Tensor k, Tensor v, Tensor cos, Tensor ids) {
    return assertThrows(
            IllegalArgumentException.class,
            () -> Rope.forward(device.backend(), q, k, k, q, k, v, cos, null, ids, ids, ids))
        .getMessage();
  }
}
