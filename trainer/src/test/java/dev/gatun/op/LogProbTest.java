package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.selftest.LogProbContract;
import dev.gatun.selftest.Place;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class LogProbTest {
  /** Around vector widths, and around the kernel's block of 2048. */
  private static final int[] VOCABULARIES = {1, 2, 7, 15, 16, 17, 63, 257, 2047, 2048, 2049, 5003};

  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int vocab : VOCABULARIES) {
      for (double softcap : new double[] {0, 3}) {
        for (Place place : Place.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            LogProbContract.check(device, 5, vocab, (float) softcap, place);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> LogProbContract.check(device, 67, 3001, 0, Place.APART));
  }

  @BackendTest
  void extremeLogits(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      double[] values = {1e30, -1e30, 0, 1e30, Double.NEGATIVE_INFINITY, -3, 5, -3};
      Tensor logits = device.given("logits", DType.F32, values, 2, 4);
      Tensor logProb = device.output("logProb", DType.F32, 2);
      Tensor lse = device.output("lse", DType.F32, 2);
      Tensor entropy = device.output("entropy", DType.F32, 2);
      Tensor argmax = device.output("argmax", DType.I32, 2);
      LogProb.forward(
          device.backend(),
          logProb,
          lse,
          entropy,
          argmax,
          null,
          null,
          logits,
          device.given("begin", 0, 1, 2),
          device.given("targets", 3, 1),
          0);
      double tail = Math.log1p(2 * Math.exp(-8));
      double p = Math.exp(-tail);
      // Two equal giants: entropy ln 2; the first of equals is the arg-max.
      device.assertClose(
          entropy, new double[] {Math.log(2), 5 + tail - 5 * p + 6 * Math.exp(-8 - tail)}, 96, 8);
      device.assertExact(argmax, new double[] {0, 2});
      // Beside 1e30 the log of 2 is nothing: a target that is as large has log-prob -ln 2, and the
      // kernel takes z - lse in double, so that it need not lose it.
      assertTrue(device.values(logProb)[0] <= 0, "log-prob above 0");
      device.assertClose(logProb, new double[] {device.values(logProb)[0], -8 - tail}, 96, 8);
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor logits = device.normal("logits", DType.F32, 2, 4);
      Tensor f2 = device.normal("f2", DType.F32, 2);
      Tensor targets = device.given("targets", 0, 1);
      assertEquals(
          "logprob: predictionBegin is [2] i32, expected [rows+1=3] i32",
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      LogProb.forward(
                          device.backend(),
                          f2,
                          f2,
                          null,
                          null,
                          null,
                          null,
                          logits,
                          targets,
                          targets,
                          0))
              .getMessage());
    }
  }
}
