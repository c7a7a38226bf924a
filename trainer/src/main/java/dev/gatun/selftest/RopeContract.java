package dev.gatun.selftest;

import dev.gatun.op.Rope;
import dev.gatun.op.reference.RopeReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What {@link Rope} must do. */
public final class RopeContract {
  private static final int MAX_POSITIONS = 9;

  /** Whether there are angles. */
  public enum Rotation {
    /** cos and sin are absent: filing only. */
    NONE,
    BY_POSITION
  }

  private RopeContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    boolean full = extent == Extent.FULL;
    for (int headDim :
        full ? new int[] {2, 4, 6, 14, 16, 18, 62, 64, 66, 96, 128, 256} : new int[] {6, 16}) {
      for (int tokens : full ? new int[] {1, 17} : new int[] {3}) {
        for (Rotation rotation : Rotation.values()) {
          for (Place place : Place.values()) {
            cases.add(
                new OpCase(
                    "tokens %d, headDim %d, rotation %s, queries %s"
                        .formatted(tokens, headDim, rotation, place),
                    bench -> check(bench, tokens, 6, 2, headDim, rotation, place)));
          }
        }
      }
    }
    return cases;
  }

  /** Both passes; {@code place}: where rotated queries go. */
  public static void check(
      Workbench bench,
      int tokens,
      int heads,
      int kvHeads,
      int headDim,
      Rotation rotation,
      Place place) {
    bench.runs("rope_forward");
    boolean rotates = rotation == Rotation.BY_POSITION;
    boolean inPlace = place == Place.OVER_INPUT;
    // Every third token is a shared prompt's: filed twice. Row 0 of the keys stays empty.
    int[] positions = bench.random().ints(tokens, 0, MAX_POSITIONS).toArray();
    int[] rows = new int[tokens];
    int[] copies = new int[tokens];
    int keyRows = 1;
    for (int t = 0; t < tokens; t++) {
      rows[t] = keyRows++;
      copies[t] = t % 3 == 0 ? keyRows++ : -1;
    }
    double[] angles = bench.normals(MAX_POSITIONS * headDim / 2);
    double[] cosValues = Arrays.stream(angles).map(Math::cos).toArray();
    double[] sinValues = Arrays.stream(angles).map(Math::sin).toArray();
    Tensor cos = bench.given("cos", DType.F32, cosValues, MAX_POSITIONS, headDim / 2);
    Tensor sin = bench.given("sin", DType.F32, sinValues, MAX_POSITIONS, headDim / 2);
    double[] c = rotates ? bench.values(cos) : cosOfZero(angles.length);
    double[] s = rotates ? bench.values(sin) : new double[angles.length];
    Tensor positionIds = bench.given("positions", positions);
    Tensor keyRowIds = bench.given("keyRows", rows);
    Tensor copyRowIds = bench.given("keyCopyRows", copies);
    DType dtype = bench.dtype();

    Tensor q = bench.stridedNormal("q", dtype, 0, 5, tokens, heads, headDim);
    Tensor k = bench.stridedNormal("k", dtype, 2, 1, tokens, kvHeads, headDim);
    Tensor v = bench.stridedNormal("v", dtype, 1, 2, tokens, kvHeads, headDim);
    double[] qs = bench.values(q);
    double[] ks = bench.values(k);
    double[] vs = bench.values(v);
    Tensor qOut = inPlace ? q : bench.strided("qOut", dtype, 1, 0, tokens, heads, headDim);
    Tensor kOut = bench.normal("kOut", dtype, keyRows, kvHeads, headDim);
    Tensor vOut = bench.normal("vOut", dtype, keyRows, kvHeads, headDim);
    int width = kvHeads * headDim;
    double[] expectedK =
        RopeReference.filed(
            bench.values(kOut),
            RopeReference.rotate(ks, c, s, positions, kvHeads, headDim, 1),
            rows,
            copies,
            width);
    double[] expectedV = RopeReference.filed(bench.values(vOut), vs, rows, copies, width);
    Rope.forward(
        bench.backend(),
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
    bench.assertClose(qOut, RopeReference.rotate(qs, c, s, positions, heads, headDim, 1), 3, 16);
    bench.assertClose(kOut, expectedK, 3, 16);
    bench.assertExact(vOut, expectedV);

    bench.runs("rope_backward");
    Tensor dQOut = bench.stridedNormal("dQOut", dtype, 3, 0, tokens, heads, headDim);
    Tensor dKOut = bench.normal("dKOut", dtype, keyRows, kvHeads, headDim);
    Tensor dVOut = bench.normal("dVOut", dtype, keyRows, kvHeads, headDim);
    Tensor dQ = inPlace ? dQOut : bench.strided("dQ", dtype, 0, 1, tokens, heads, headDim);
    Tensor dK = bench.strided("dK", dtype, 0, 4, tokens, kvHeads, headDim);
    Tensor dV = bench.strided("dV", dtype, 3, 1, tokens, kvHeads, headDim);
    double[] expectedDQ =
        RopeReference.rotate(bench.values(dQOut), c, s, positions, heads, headDim, -1);
    double[] expectedDK =
        RopeReference.rotate(
            RopeReference.collected(bench.values(dKOut), rows, copies, width),
            c,
            s,
            positions,
            kvHeads,
            headDim,
            -1);
    double[] expectedDV = RopeReference.collected(bench.values(dVOut), rows, copies, width);
    Rope.backward(
        bench.backend(),
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
    bench.assertClose(dQ, expectedDQ, 3, 16);
    // The sum of two rows first.
    bench.assertClose(dK, expectedDK, 4, 32);
    bench.assertClose(dV, expectedDV, 1, 16);
  }

  private static double[] cosOfZero(int count) {
    double[] ones = new double[count];
    Arrays.fill(ones, 1);
    return ones;
  }
}
