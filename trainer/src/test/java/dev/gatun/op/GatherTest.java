package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class GatherTest {
  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int hidden : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          check(device, tokens, hidden);
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(backendCase, device -> check(device, 509, 259));
  }

  private static void check(TestDevice device, int tokens, int hidden) {
    List<Integer> order = new ArrayList<>(IntStream.range(0, tokens).boxed().toList());
    Collections.shuffle(order, device.random());
    int[] picked =
        order.subList(0, (tokens + 1) / 2).stream().mapToInt(Integer::intValue).toArray();
    Tensor rows = device.given("rows", picked);
    Tensor x = device.normal("x", device.dtype(), tokens, hidden);
    Tensor y = device.output("y", device.dtype(), picked.length, hidden);
    Gather.forward(device.backend(), y, x, rows);
    double[] xs = device.values(x);
    double[] expected = new double[picked.length * hidden];
    for (int i = 0; i < expected.length; i++) {
      expected[i] = xs[picked[i / hidden] * hidden + i % hidden];
    }
    device.assertExact(y, expected);

    Tensor dX = device.output("dX", device.dtype(), tokens, hidden);
    Gather.backward(device.backend(), dX, y, rows);
    double[] expectedD = new double[tokens * hidden];
    for (int i = 0; i < expected.length; i++) {
      expectedD[picked[i / hidden] * hidden + i % hidden] = expected[i];
    }
    device.assertExact(dX, expectedD);
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
