package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.OptimizerReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** AdamW, RMSprop, SGD, the split of masters, gradient norm and mixing: what runs over slabs. */
final class OptimizerTest {
  private static final int STEPS = 5;
  private static final double LEARNING_RATE = 0.01;
  private static final double DECAY = 0.1;

  /** A step is a dozen roundings; what they act on is below 8, and moments remember. */
  private static final double ROUNDINGS = 16.0 * STEPS;

  private enum Rule {
    ADAMW,
    RMSPROP,
    RMSPROP_MOMENTUM,
    SGD,
    SGD_MOMENTUM
  }

  @BackendTest
  void fiveStepsOfAllSizes(BackendCase backendCase) {
    for (int count : new int[] {1, 7, 15, 16, 17, 33, 257, 1023}) {
      for (Rule rule : Rule.values()) {
        try (TestDevice device = TestDevice.open(backendCase)) {
          check(device, count, rule);
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    for (Rule rule : Rule.values()) {
      TestDevice.sameBitsWhateverTheThreads(backendCase, device -> check(device, 100_003, rule));
    }
  }

  /** Weights of the case's type; those in bf16 are exact masters with their remainders. */
  private static void check(TestDevice device, int count, Rule rule) {
    boolean split = device.dtype() == DType.BF16;
    int decayCount = count / 2;
    Tensor exact = device.normal("exact", DType.F32, count);
    Tensor weight = device.output("weight", device.dtype(), count);
    Tensor remainder = split ? device.output("remainder", DType.U16, count) : null;
    Master.split(device.backend(), weight, remainder, exact);
    Tensor first = device.given("first", DType.F32, new double[count], count);
    Tensor second = device.given("second", DType.F32, new double[count], count);
    Tensor scale = device.given("scale", DType.F32, new double[] {0.5}, 1);
    Tensor gradient = device.output("gradient", DType.F32, count);

    double[] start = device.values(exact);
    OptimizerReference[] expected = new OptimizerReference[count];
    Arrays.setAll(expected, i -> new OptimizerReference(start[i], 0, 0));
    for (int step = 1; step <= STEPS; step++) {
      device.set(gradient, device.normals(count));
      double[] gradients = device.values(gradient);
      step(device, rule, weight, remainder, first, second, gradient, scale, decayCount, step);
      for (int i = 0; i < count; i++) {
        double decay = i < decayCount ? DECAY : 0;
        double g = 0.5 * gradients[i];
        switch (rule) {
          case ADAMW -> expected[i].adamw(g, LEARNING_RATE, 0.9, 0.999, 1e-8, decay, step);
          case RMSPROP -> expected[i].rmsprop(g, LEARNING_RATE, 0.99, 1e-8, 0, decay);
          case RMSPROP_MOMENTUM -> expected[i].rmsprop(g, LEARNING_RATE, 0.99, 1e-8, 0.9, decay);
          case SGD -> expected[i].sgd(g, LEARNING_RATE, 0, decay, step == 1);
          case SGD_MOMENTUM -> expected[i].sgd(g, LEARNING_RATE, 0.9, decay, step == 1);
        }
      }
    }
    Tensor joined = device.output("joined", DType.F32, count);
    Master.join(device.backend(), joined, weight, remainder);
    double[] weights = Arrays.stream(expected).mapToDouble(e -> e.weight).toArray();
    device.assertClose(joined, weights, ROUNDINGS, 8);
    if (rule == Rule.ADAMW || rule == Rule.RMSPROP_MOMENTUM || rule == Rule.SGD_MOMENTUM) {
      double[] moments = Arrays.stream(expected).mapToDouble(e -> e.first).toArray();
      // RMSprop's steps divide by sqrt(v) of one gradient at first: up to 10 a step, with momentum.
      device.assertClose(first, moments, ROUNDINGS, rule == Rule.RMSPROP_MOMENTUM ? 64 : 8);
    }
    if (rule == Rule.ADAMW || rule == Rule.RMSPROP || rule == Rule.RMSPROP_MOMENTUM) {
      double[] moments = Arrays.stream(expected).mapToDouble(e -> e.second).toArray();
      device.assertClose(second, moments, ROUNDINGS, moments);
    }
  }

  private static void step(
      TestDevice device,
      Rule rule,
      Tensor weight,
      Tensor remainder,
      Tensor first,
      Tensor second,
      Tensor gradient,
      Tensor scale,
      int decayCount,
      int step) {
    switch (rule) {
      case ADAMW ->
          AdamW.step(
              device.backend(),
              weight,
              remainder,
              first,
              second,
              gradient,
              scale,
              decayCount,
              new AdamWStep(
                  LEARNING_RATE,
                  0.9,
                  0.999,
                  1e-8,
                  DECAY,
                  1 - Math.pow(0.9, step),
                  1 - Math.pow(0.999, step)));
      case RMSPROP, RMSPROP_MOMENTUM -> {
        double momentum = rule == Rule.RMSPROP ? 0 : 0.9;
        RmsProp.step(
            device.backend(),
            weight,
            remainder,
            second,
            momentum == 0 ? null : first,
            gradient,
            scale,
            decayCount,
            new RmsPropStep(LEARNING_RATE, 0.99, 1e-8, momentum, DECAY));
      }
      case SGD, SGD_MOMENTUM -> {
        double momentum = rule == Rule.SGD ? 0 : 0.9;
        Sgd.step(
            device.backend(),
            weight,
            remainder,
            momentum == 0 ? null : first,
            gradient,
            scale,
            decayCount,
            new SgdStep(LEARNING_RATE, momentum, DECAY, step == 1));
      }
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
    try (TestDevice device = TestDevice.open(backendCase)) {
      double[] values = device.normals(1021);
      // Halves between two bf16, the largest that round up across a power of two, and extremes.
      double[] special = {
        0, -0.0, 1, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1p-8, 2 - 0x1p-23, 1e-40, -1e-45, 3e38
      };
      System.arraycopy(special, 0, values, 0, special.length);
      Tensor source = device.given("source", DType.F32, values, values.length);
      double[] exact = device.values(source);
      Tensor weight = device.output("weight", device.dtype(), values.length);
      Tensor joined = device.output("joined", DType.F32, values.length);
      if (device.dtype() == DType.BF16) {
        Tensor remainder = device.output("remainder", DType.U16, values.length);
        Master.split(device.backend(), weight, remainder, source);
        Master.join(device.backend(), joined, weight, remainder);
        device.assertExact(joined, exact);
        // Rounded to nearest: within half a unit of the last place.
        device.assertClose(weight, exact, 0, 0);
        double[] weights = device.values(weight);
        assertEquals(1 + 0x1p-7, weights[3], "a half rounds away from zero");
        assertEquals(-1 - 0x1p-7, weights[5], "a half rounds away from zero");
      }
      Master.split(device.backend(), weight, null, source);
      device.assertClose(weight, exact, 0, 0);
      Master.join(device.backend(), joined, weight, null);
      device.assertExact(joined, device.values(weight));
    }
  }

  @BackendTest
  void gradNorm(BackendCase backendCase) {
    for (int count : new int[] {1, 7, 16, 33, 4095, 4097, 100_003}) {
      TestDevice.sameBitsWhateverTheThreads(
          backendCase,
          device -> {
            Tensor gradient = device.normal("gradient", DType.F32, count);
            double squares = Arrays.stream(device.values(gradient)).map(g -> g * g).sum();
            double norm = Math.sqrt(squares);
            for (double maxNorm : new double[] {0, 0.5 * norm, 2 * norm}) {
              float max = (float) maxNorm;
              Tensor out = device.output("normAndScale", DType.F32, 2);
              GradNorm.forward(device.backend(), out, gradient, max);
              double scale = max > 0 ? Math.min(1, max / (norm + 1e-6)) : 1;
              // Squares of f32 are exact in double.
              device.assertClose(out, new double[] {norm, scale}, 1e-3, norm);
            }
          });
    }
  }

  @BackendTest
  void mix(BackendCase backendCase) {
    for (int count : new int[] {1, 15, 16, 17, 33, 257, 100_003}) {
      TestDevice.sameBitsWhateverTheThreads(
          backendCase,
          device -> {
            Tensor dst = device.normal("dst", device.dtype(), count);
            Tensor src = device.normal("src", device.dtype(), count);
            double[] expected = device.values(dst);
            double[] other = device.values(src);
            Arrays.setAll(expected, i -> 0.4 * expected[i] + 0.6 * other[i]);
            Mix.apply(device.backend(), dst, src, 0.6);
            device.assertClose(dst, expected, 4, 8);
          });
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
