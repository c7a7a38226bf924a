package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.RopeReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class RopeTest {
  private static final int MAX_POSITIONS = 9;

  @BackendTest
  void bothPassesOfAllHeadSizes(BackendCase backendCase) {
    for (int headDim : new int[] {2, 4, 6, 8, 14, 16, 18, 30, 32, 34, 62, 64, 66, 128}) {
      for (int tokens : Sizes.ROWS) {
        for (boolean rotates : new boolean[] {true, false}) {
          for (boolean inPlace : new boolean[] {true, false}) {
            try (TestDevice device = TestDevice.open(backendCase)) {
              check(device, tokens, 6, 2, headDim, rotates, inPlace);
            }
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> check(device, 257, 9, 3, 64, true, false));
  }

  private static void check(
      TestDevice device,
      int tokens,
      int heads,
      int kvHeads,
      int headDim,
      boolean rotates,
      boolean inPlace) {
    // Every third token is a shared prompt's: filed twice. Row 0 of the keys stays empty.
    int[] positions = device.random().ints(tokens, 0, MAX_POSITIONS).toArray();
    int[] rows = new int[tokens];
    int[] copies = new int[tokens];
    int keyRows = 1;
    for (int t = 0; t < tokens; t++) {
      rows[t] = keyRows++;
      copies[t] = t % 3 == 0 ? keyRows++ : -1;
    }
    double[] angles = device.normals(MAX_POSITIONS * headDim / 2);
    double[] cosValues = Arrays.stream(angles).map(Math::cos).toArray();
    double[] sinValues = Arrays.stream(angles).map(Math::sin).toArray();
    Tensor cos = device.given("cos", DType.F32, cosValues, MAX_POSITIONS, headDim / 2);
    Tensor sin = device.given("sin", DType.F32, sinValues, MAX_POSITIONS, headDim / 2);
    double[] c = rotates ? device.values(cos) : cosOfZero(angles.length);
    double[] s = rotates ? device.values(sin) : new double[angles.length];
    Tensor positionIds = device.given("positions", positions);
    Tensor keyRowIds = device.given("keyRows", rows);
    Tensor copyRowIds = device.given("keyCopyRows", copies);
    DType dtype = device.dtype();

    Tensor q = device.stridedNormal("q", dtype, 0, 5, tokens, heads, headDim);
    Tensor k = device.stridedNormal("k", dtype, 2, 1, tokens, kvHeads, headDim);
    Tensor v = device.stridedNormal("v", dtype, 1, 2, tokens, kvHeads, headDim);
    double[] qs = device.values(q);
    double[] ks = device.values(k);
    double[] vs = device.values(v);
    Tensor qOut = inPlace ? q : device.strided("qOut", dtype, 1, 0, tokens, heads, headDim);
    Tensor kOut = device.normal("kOut", dtype, keyRows, kvHeads, headDim);
    Tensor vOut = device.normal("vOut", dtype, keyRows, kvHeads, headDim);
    int width = kvHeads * headDim;
    double[] expectedK =
        filed(
            device.values(kOut),
            RopeReference.rotate(ks, c, s, positions, kvHeads, headDim, 1),
            rows,
            copies,
            width);
    double[] expectedV = filed(device.values(vOut), vs, rows, copies, width);
    Rope.forward(
        device.backend(),
        qOut,
        kOut,
        vOut,
        q,
        k,
        v,
        rotates ? cos : null,
        rotates ? sin : null,
        positionIds,
        keyRowIds,
        copyRowIds);
    // Two products of numbers below 5 and a sum.
    device.assertClose(qOut, RopeReference.rotate(qs, c, s, positions, heads, headDim, 1), 3, 16);
    device.assertClose(kOut, expectedK, 3, 16);
    device.assertExact(vOut, expectedV);

    Tensor dQOut = device.stridedNormal("dQOut", dtype, 3, 0, tokens, heads, headDim);
    Tensor dKOut = device.normal("dKOut", dtype, keyRows, kvHeads, headDim);
    Tensor dVOut = device.normal("dVOut", dtype, keyRows, kvHeads, headDim);
    Tensor dQ = inPlace ? dQOut : device.strided("dQ", dtype, 0, 1, tokens, heads, headDim);
    Tensor dK = device.strided("dK", dtype, 0, 4, tokens, kvHeads, headDim);
    Tensor dV = device.strided("dV", dtype, 3, 1, tokens, kvHeads, headDim);
    double[] expectedDQ =
        RopeReference.rotate(device.values(dQOut), c, s, positions, heads, headDim, -1);
    double[] expectedDK =
        RopeReference.rotate(
            collected(device.values(dKOut), rows, copies, width),
            c,
            s,
            positions,
            kvHeads,
            headDim,
            -1);
    double[] expectedDV = collected(device.values(dVOut), rows, copies, width);
    Rope.backward(
        device.backend(),
        dQ,
        dK,
        dV,
        dQOut,
        dKOut,
        dVOut,
        rotates ? cos : null,
        rotates ? sin : null,
        positionIds,
        keyRowIds,
        copyRowIds);
    device.assertClose(dQ, expectedDQ, 3, 16);
    // The sum of two rows first.
    device.assertClose(dK, expectedDK, 4, 32);
    device.assertClose(dV, expectedDV, 1, 16);
  }

  private static double[] cosOfZero(int count) {
    double[] ones = new double[count];
    Arrays.fill(ones, 1);
    return ones;
  }

  private static double[] filed(
      double[] before, double[] values, int[] rows, int[] copies, int width) {
    for (int t = 0; t < rows.length; t++) {
      System.arraycopy(values, t * width, before, rows[t] * width, width);
      if (copies[t] >= 0) {
        System.arraycopy(values, t * width, before, copies[t] * width, width);
      }
    }
    return before;
  }

  private static double[] collected(double[] keyRows, int[] rows, int[] copies, int width) {
    double[] sum = new double[rows.length * width];
    for (int i = 0; i < sum.length; i++) {
      int t = i / width;
      sum[i] = keyRows[rows[t] * width + i % width];
      if (copies[t] >= 0) {
        sum[i] += keyRows[copies[t] * width + i % width];
      }
    }
    return sum;
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
