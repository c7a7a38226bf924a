package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.GatherContract;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class GatherTest {
  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int hidden : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          GatherContract.check(device, tokens, hidden);
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> GatherContract.check(device, 509, 259));
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor x = device.normal("x", DType.F32, 3, 4);
      assertEquals(
          "gather: y is [3, 4] f32, expected [numRows=2, hidden=4] f32",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> Gather.forward(device.backend(), x, x, device.given("rows", 0, 2)))
              .getMessage());
    }
  }
}
