package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** Casts, against Java's own: every bf16 and f16 there is, and f32 around them. */
final class CastTest {
  private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16};

  @BackendTest
  void everyNarrowValue(BackendCase backendCase) {
    for (DType from : new DType[] {DType.BF16, DType.F16}) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        Tensor bits = device.output("bits", DType.U16, 1 << 16);
        double[] all = new double[1 << 16];
        for (int i = 0; i < all.length; i++) {
          all[i] = i;
        }
        device.set(bits, all);
        Tensor src = bits.reinterpret("src", from, 1 << 16);
        float[] exact = device.backend().downloadF32(src);
        for (DType to : TYPES) {
          Tensor dst = device.output("dst", to, 1 << 16);
          device.backend().cast(dst, src);
          double[] values = device.values(dst);
          for (int i = 0; i < exact.length; i++) {
            assertEquals(rounded(exact[i], to), (float) values[i], from + " " + i + " to " + to);
          }
        }
      }
    }
  }

  @BackendTest
  void roundsToNearestEven(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      int count = 4099;
      double[] values = new double[count];
      for (int i = 0; i < count; i++) {
        int exponent = device.random().nextInt(-160, 128);
        values[i] = device.random().nextGaussian() * Math.scalb(1.0, exponent);
      }
      // Ties: 1 + half a unit of the last place of bf16 and of f16, to even.
      values[0] = 1 + 0x1p-8;
      values[1] = 1 + 3 * 0x1p-8;
      values[2] = 1 + 0x1p-11;
      values[3] = 1 + 3 * 0x1p-11;
      values[4] = 65519.996;
      values[5] = 65520;
      Tensor src = device.given("src", DType.F32, values, count);
      float[] exact = device.backend().downloadF32(src);
      for (DType to : TYPES) {
        Tensor dst = device.output("dst", to, count);
        device.backend().cast(dst, src);
        double[] actual = device.values(dst);
        for (int i = 0; i < count; i++) {
          assertEquals(rounded(exact[i], to), (float) actual[i], exact[i] + " to " + to);
        }
      }
    }
  }

  private static float rounded(float value, DType to) {
    return switch (to) {
      case BF16 -> (float) Elements.round(value, DType.BF16);
      case F16 -> Float.float16ToFloat(Float.floatToFloat16(value));
      default -> value;
    };
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
