package dev.gatun.selftest;

import dev.gatun.op.reference.Elements;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What a backend's cast, copy and zero must do. */
public final class TransferContract {
  private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16};

  private TransferContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int count : extent.counts()) {
      cases.add(new OpCase("[%d]".formatted(count), bench -> copies(bench, count)));
      for (DType to : TYPES) {
        String form = "[%d] f32 to %s".formatted(count, to);
        cases.add(new OpCase(form, bench -> fromF32(bench, count, to)));
      }
    }
    if (extent == Extent.FULL) {
      for (DType from : new DType[] {DType.BF16, DType.F16}) {
        for (DType to : TYPES) {
          String form = "every %s to %s".formatted(from, to);
          cases.add(new OpCase(form, bench -> everyNarrowValue(bench, from, to)));
        }
      }
    }
    return cases;
  }

  /** A copy, and zeros. */
  public static void copies(Workbench bench, int count) {
    bench.runs("copy");
    Tensor x = bench.normal("x", bench.dtype(), count);
    Tensor y = bench.output("y", bench.dtype(), count);
    bench.backend().copy(y, x);
    bench.assertExact(y, bench.values(x));
    bench.runs("zero");
    bench.backend().zero(x);
    bench.assertExact(x, new double[count]);
  }

  /** Casts of f32 values of all magnitudes, ties among them: to the nearest, or even. */
  public static void fromF32(Workbench bench, int count, DType to) {
    bench.runs("cast");
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      int exponent = bench.random().nextInt(-160, 128);
      values[i] = bench.random().nextGaussian() * Math.scalb(1.0, exponent);
    }
    // Ties: 1 + half a unit of the last place of bf16 and of f16, to even; the end of f16.
    double[] special = {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-11, 1 + 3 * 0x1p-11, 65519.996, 65520};
    System.arraycopy(special, 0, values, 0, Math.min(count, special.length));
    Tensor src = bench.given("src", DType.F32, values, count);
    Tensor dst = bench.output("dst", to, count);
    bench.backend().cast(dst, src);
    double[] exact = bench.values(src);
    bench.assertExact(dst, Arrays.stream(exact).map(x -> Elements.round(x, to)).toArray());
  }

  /** Casts of every bf16 or f16 there is. */
  public static void everyNarrowValue(Workbench bench, DType from, DType to) {
    bench.runs("cast");
    int count = 1 << 16;
    Tensor bits = bench.output("bits", DType.U16, count);
    double[] all = new double[count];
    Arrays.setAll(all, i -> i);
    bench.set(bits, all);
    Tensor src = bits.reinterpret("src", from, count);
    float[] exact = bench.backend().downloadF32(src);
    Tensor dst = bench.output("dst", to, count);
    bench.backend().cast(dst, src);
    double[] expected = new double[count];
    Arrays.setAll(expected, i -> Elements.round(exact[i], to));
    bench.assertExact(dst, expected);
  }
}
