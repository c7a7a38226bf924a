package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.selftest.OptimizerContract;
import dev.gatun.selftest.OptimizerContract.Rule;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** AdamW, RMSprop, SGD, the split of masters, gradient norm and mixing: what runs over slabs. */
final class OptimizerTest {
  @BackendTest
  void fiveStepsOfAllSizes(BackendCase backendCase) {
    for (int count : new int[] {1, 7, 15, 16, 17, 33, 257, 1023}) {
      for (Rule rule : Rule.values()) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          OptimizerContract.fiveSteps(device, count, rule);
        }
      }
    }
  }

  @BackendTest
  void stepsOnMomentsOfEightBits(BackendCase backendCase) {
    for (int count : new int[] {1, 255, 256, 257, 1034}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        OptimizerContract.eightBit(device, count);
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> OptimizerContract.eightBit(device, 50_003));
    for (Rule rule : Rule.values()) {
      TestDevice.sameBitsWhateverTheThreads(
          backendCase, device -> OptimizerContract.fiveSteps(device, 100_003, rule));
    }
  }

  /** Steps far below the resolution of bf16 are not lost. */
  @BackendTest
  void tinyStepsAddUp(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      Tensor exact = device.given("exact", DType.F32, new double[] {1, -3, 0.1}, 3);
      Tensor weight = device.output("weight", device.dtype(), 3);
      Tensor remainder =
          device.dtype() == DType.BF16 ? device.output("remainder", DType.U16, 3) : null;
      Master.split(device.backend(), weight, remainder, exact);
      Tensor gradient = device.given("gradient", DType.F32, new double[] {1, 1, 1}, 3);
      Tensor scale = device.given("scale", DType.F32, new double[] {1}, 1);
      double[] expected = device.values(exact);
      for (int i = 0; i < 1000; i++) {
        Sgd.step(
            device.backend(),
            weight,
            remainder,
            null,
            gradient,
            scale,
            0,
            new SgdStep(1e-6, 0, 0, i == 0));
      }
      Tensor joined = device.output("joined", DType.F32, 3);
      Master.join(device.backend(), joined, weight, remainder);
      Arrays.setAll(expected, i -> expected[i] - 1e-3);
      device.assertClose(joined, expected, 1000, 4);
    }
  }

  @BackendTest
  void mastersSurviveTheSplit(BackendCase backendCase) {
    for (int count : new int[] {1, 16, 1021}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        OptimizerContract.masters(device, count);
      }
    }
  }

  @BackendTest
  void gradNorm(BackendCase backendCase) {
    for (int count : new int[] {1, 7, 16, 33, 4095, 4097, 100_003}) {
      TestDevice.sameBitsWhateverTheThreads(
          backendCase, device -> OptimizerContract.gradNorm(device, count));
    }
  }

  @BackendTest
  void mix(BackendCase backendCase) {
    for (int count : new int[] {1, 15, 16, 17, 33, 257, 100_003}) {
      TestDevice.sameBitsWhateverTheThreads(
          backendCase, device -> OptimizerContract.mix(device, count));
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor weight = device.normal("weight", DType.F32, 4);
      Tensor scale = device.normal("scale", DType.F32, 1);
      Tensor remainder = device.output("remainder", DType.U16, 4);
      SgdStep step = new SgdStep(1, 0.5, 0, true);
      assertEquals(
          "sgd: remainder with f32 weights, expected with bf16 only",
          message(
              () -> Sgd.step(device.backend(), weight, remainder, null, weight, scale, 0, step)));
      assertEquals(
          "sgd: decayCount is 5, expected 0 to 4",
          message(() -> Sgd.step(device.backend(), weight, null, null, weight, scale, 5, step)));
      assertEquals(
          "sgd: momentum is 0.5 without a buffer",
          message(() -> Sgd.step(device.backend(), weight, null, null, weight, scale, 0, step)));
    }
  }

  private static String message(Runnable call) {
    return assertThrows(IllegalArgumentException.class, call::run).getMessage();
  }
}
