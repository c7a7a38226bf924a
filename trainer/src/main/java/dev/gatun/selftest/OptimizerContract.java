package dev.gatun.selftest;

import dev.gatun.op.AdamW;
import dev.gatun.op.AdamW8bit;
import dev.gatun.op.AdamWStep;
import dev.gatun.op.GradNorm;
import dev.gatun.op.Master;
import dev.gatun.op.Mix;
import dev.gatun.op.RmsProp;
import dev.gatun.op.RmsPropStep;
import dev.gatun.op.Sgd;
import dev.gatun.op.SgdStep;
import dev.gatun.op.reference.GradNormReference;
import dev.gatun.op.reference.MasterReference;
import dev.gatun.op.reference.MixReference;
import dev.gatun.op.reference.MomentCodeReference;
import dev.gatun.op.reference.OptimizerReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What the optimizers, the split of masters, the gradient norm and mixing must do. */
public final class OptimizerContract {
  private static final int STEPS = 5;
  private static final double LEARNING_RATE = 0.01;
  private static final double DECAY = 0.1;

  /** A step is a dozen roundings; what they act on is below 8, and moments remember. */
  private static final double ROUNDINGS = 16.0 * STEPS;

  /** An optimizer, with its options. */
  public enum Rule {
    ADAMW("adamw"),
    RMSPROP("rmsprop"),
    RMSPROP_MOMENTUM("rmsprop"),
    SGD("sgd"),
    SGD_MOMENTUM("sgd");

    private final String row;

    Rule(String row) {
      this.row = row;
    }
  }

  private OptimizerContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int count : extent.counts()) {
      for (Rule rule : Rule.values()) {
        cases.add(
            new OpCase("[%d], %s".formatted(count, rule), bench -> fiveSteps(bench, count, rule)));
      }
      cases.add(new OpCase("[%d], 8 bits".formatted(count), bench -> eightBit(bench, count)));
      cases.add(new OpCase("[%d]".formatted(count), bench -> masters(bench, count)));
      cases.add(new OpCase("[%d]".formatted(count), bench -> gradNorm(bench, count)));
      cases.add(new OpCase("[%d]".formatted(count), bench -> mix(bench, count)));
    }
    return cases;
  }

  /** Weights of the storage type; those in bf16 are exact masters with their remainders. */
  public static void fiveSteps(Workbench bench, int count, Rule rule) {
    bench.runs(rule.row);
    boolean split = bench.dtype() == DType.BF16;
    int decayCount = count / 2;
    Tensor exact = bench.normal("exact", DType.F32, count);
    Tensor weight = bench.output("weight", bench.dtype(), count);
    Tensor remainder = split ? bench.output("remainder", DType.U16, count) : null;
    Master.split(bench.backend(), weight, remainder, exact);
    Tensor first = bench.given("first", DType.F32, new double[count], count);
    Tensor second = bench.given("second", DType.F32, new double[count], count);
    Tensor scale = bench.given("scale", DType.F32, new double[] {0.5}, 1);
    Tensor gradient = bench.output("gradient", DType.F32, count);

    double[] start = bench.values(exact);
    OptimizerReference[] expected = new OptimizerReference[count];
    Arrays.setAll(expected, i -> new OptimizerReference(start[i], 0, 0));
    for (int step = 1; step <= STEPS; step++) {
      bench.set(gradient, bench.normals(count));
      double[] gradients = bench.values(gradient);
      step(bench, rule, weight, remainder, first, second, gradient, scale, decayCount, step);
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
    Tensor joined = bench.output("joined", DType.F32, count);
    Master.join(bench.backend(), joined, weight, remainder);
    double[] weights = Arrays.stream(expected).mapToDouble(e -> e.weight).toArray();
    bench.assertClose(joined, weights, ROUNDINGS, 8);
    if (rule == Rule.ADAMW || rule == Rule.RMSPROP_MOMENTUM || rule == Rule.SGD_MOMENTUM) {
      double[] moments = Arrays.stream(expected).mapToDouble(e -> e.first).toArray();
      // RMSprop's steps divide by sqrt(v) of one gradient at first: up to 10 a step, with momentum.
      bench.assertClose(first, moments, ROUNDINGS, rule == Rule.RMSPROP_MOMENTUM ? 64 : 8);
    }
    if (rule == Rule.ADAMW || rule == Rule.RMSPROP || rule == Rule.RMSPROP_MOMENTUM) {
      double[] moments = Arrays.stream(expected).mapToDouble(e -> e.second).toArray();
      bench.assertClose(second, moments, ROUNDINGS, moments);
    }
  }

  private static void step(
      Workbench bench,
      Rule rule,
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor first,
      Tensor second,
      Tensor gradient,
      Tensor scale,
      int decayCount,
      int step) {
    switch (rule) {
      case ADAMW ->
          AdamW.step(
              bench.backend(),
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
                  1 - Math.pow(0.999, step),
                  0));
      case RMSPROP, RMSPROP_MOMENTUM -> {
        double momentum = rule == Rule.RMSPROP ? 0 : 0.9;
        RmsProp.step(
            bench.backend(),
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
            bench.backend(),
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

  /** AdamW on moments of 8 bits, each step compared with one from the moments that were kept. */
  public static void eightBit(Workbench bench, int count) {
    bench.runs("adamw_8bit");
    int scales = Math.toIntExact(AdamW8bit.scales(count));
    Tensor exact = bench.normal("exact", DType.F32, count);
    Tensor weight = bench.output("weight", bench.dtype(), count);
    Tensor remainder =
        bench.dtype() == DType.BF16 ? bench.output("remainder", DType.U16, count) : null;
    Master.split(bench.backend(), weight, remainder, exact);
    // Two bytes at a time are moved, so an even number; the last may be none of the moments.
    int bytes = count + count % 2;
    Tensor firstBytes = bench.given("first", DType.U8, new double[bytes], bytes);
    Tensor secondBytes = bench.given("second", DType.U8, new double[bytes], bytes);
    Tensor firstScale = bench.given("firstScale", DType.F32, new double[scales], scales);
    Tensor secondScale = bench.given("secondScale", DType.F32, new double[scales], scales);
    Tensor scale = bench.given("scale", DType.F32, new double[] {0.5}, 1);
    Tensor gradient = bench.output("gradient", DType.F32, count);

    double[] start = bench.values(exact);
    OptimizerReference[] expected = new OptimizerReference[count];
    Arrays.setAll(expected, i -> new OptimizerReference(start[i], 0, 0));
    for (int step = 1; step <= 3; step++) {
      bench.set(gradient, bench.normals(count));
      double[] gradients = bench.values(gradient);
      AdamW8bit.step(
          bench.backend(),
          weight,
          remainder,
          firstBytes.view("first", 0, count),
          secondBytes.view("second", 0, count),
          firstScale,
          secondScale,
          gradient,
          scale,
          count / 2,
          new AdamWStep(
              LEARNING_RATE,
              0.9,
              0.999,
              1e-8,
              DECAY,
              1 - Math.pow(0.9, step),
              1 - Math.pow(0.999, step),
              0));
      double[] largestFirst = new double[scales];
      double[] largestSecond = new double[scales];
      for (int i = 0; i < count; i++) {
        double decay = i < count / 2 ? DECAY : 0;
        expected[i].adamw(0.5 * gradients[i], LEARNING_RATE, 0.9, 0.999, 1e-8, decay, step);
        int block = i / AdamW8bit.BLOCK;
        largestFirst[block] = Math.max(largestFirst[block], Math.abs(expected[i].first));
        largestSecond[block] = Math.max(largestSecond[block], expected[i].second);
      }
      Arrays.setAll(largestFirst, i -> MomentCodeReference.scale(largestFirst[i], 7));
      Arrays.setAll(largestSecond, i -> MomentCodeReference.scale(largestSecond[i], 8));
      bench.assertClose(firstScale, largestFirst, 16, largestFirst);
      bench.assertClose(secondScale, largestSecond, 16, largestSecond);
      double[] firstCodes = new double[bytes];
      double[] secondCodes = new double[bytes];
      for (int i = 0; i < count; i++) {
        int block = i / AdamW8bit.BLOCK;
        double m = expected[i].first / largestFirst[block];
        double v = expected[i].second / largestSecond[block];
        firstCodes[i] = MomentCodeReference.code(Math.abs(m), 7) + (m < 0 ? 128 : 0);
        secondCodes[i] = Math.max(1, MomentCodeReference.code(v, 8));
      }
      // A rounding in f32 may move a number across the border of two codes.
      double[] oneCode = new double[bytes];
      Arrays.fill(oneCode, 0, count, 1);
      bench.assertWithin(firstBytes, firstCodes, oneCode);
      bench.assertWithin(secondBytes, secondCodes, oneCode);
      double[] keptFirst = bench.values(firstBytes);
      double[] keptSecond = bench.values(secondBytes);
      double[] keptFirstScale = bench.values(firstScale);
      double[] keptSecondScale = bench.values(secondScale);
      for (int i = 0; i < count; i++) {
        int block = i / AdamW8bit.BLOCK;
        int code = (int) keptFirst[i];
        expected[i].first =
            (code >= 128 ? -1 : 1)
                * MomentCodeReference.value(code % 128, 7)
                * keptFirstScale[block];
        expected[i].second =
            MomentCodeReference.value((int) keptSecond[i], 8) * keptSecondScale[block];
      }
    }
    Tensor joined = bench.output("joined", DType.F32, count);
    Master.join(bench.backend(), joined, weight, remainder);
    double[] weights = Arrays.stream(expected).mapToDouble(e -> e.weight).toArray();
    bench.assertClose(joined, weights, ROUNDINGS, 8);
  }

  /** The split of masters and the way back, with remainders (bf16) and without: exact. */
  public static void masters(Workbench bench, int count) {
    bench.runs("split_master");
    double[] values = bench.normals(count);
    // Halves between two bf16, the largest that round up across a power of two, and extremes.
    double[] special = {
      0, -0.0, 1, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1p-8, 2 - 0x1p-23, 1e-40, -1e-45, 3e38
    };
    System.arraycopy(special, 0, values, 0, Math.min(count, special.length));
    Tensor source = bench.given("source", DType.F32, values, count);
    double[] exact = bench.values(source);
    Tensor weight = bench.output("weight", bench.dtype(), count);
    Tensor joined = bench.output("joined", DType.F32, count);
    if (bench.dtype() == DType.BF16) {
      Tensor remainder = bench.output("remainder", DType.U16, count);
      Master.split(bench.backend(), weight, remainder, source);
      bench.assertExact(weight, Arrays.stream(exact).map(MasterReference::weight).toArray());
      bench.assertExact(remainder, Arrays.stream(exact).map(MasterReference::remainder).toArray());
      bench.runs("join_master");
      Master.join(bench.backend(), joined, weight, remainder);
      bench.assertExact(joined, exact);
      bench.runs("split_master");
    }
    Master.split(bench.backend(), weight, null, source);
    bench.assertClose(weight, exact, 0, 0); // Rounded to nearest.
    double[] weights = bench.values(weight);
    bench.runs("join_master");
    Master.join(bench.backend(), joined, weight, null);
    bench.assertExact(joined, weights);
  }

  /** Norm and factor, without a limit, with one that clips and one that does not. */
  public static void gradNorm(Workbench bench, int count) {
    bench.runs("gradnorm");
    Tensor gradient = bench.normal("gradient", DType.F32, count);
    double[] gradients = bench.values(gradient);
    double norm = GradNormReference.normAndScale(gradients, 0)[0];
    for (double maxNorm : new double[] {0, 0.5 * norm, 2 * norm}) {
      float max = (float) maxNorm;
      Tensor out = bench.output("normAndScale", DType.F32, 2);
      GradNorm.forward(bench.backend(), out, gradient, max);
      // Squares of f32 are exact in double.
      bench.assertClose(out, GradNormReference.normAndScale(gradients, max), 1e-3, norm);
    }
  }

  /** The reference moved towards the policy. */
  public static void mix(Workbench bench, int count) {
    bench.runs("mix");
    Tensor dst = bench.normal("dst", bench.dtype(), count);
    Tensor src = bench.normal("src", bench.dtype(), count);
    double[] expected = MixReference.mixed(bench.values(dst), bench.values(src), 0.6);
    Mix.apply(bench.backend(), dst, src, 0.6);
    bench.assertClose(dst, expected, 4, 8);
  }
}
