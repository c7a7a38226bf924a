package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Rotary position embedding (arXiv:2104.09864) in Hugging Face's half-split order, and the filing
 * of keys and values into the rows that attention reads.
 *
 * <pre>
 *   (a, b) = (q[i], q[i + headDim/2])  ->  (a cos - b sin, b cos + a sin),  cos, sin at [positions[t], i]
 *   kOut[keyRows[t]] = rotated k[t], and kOut[keyCopyRows[t]] too where keyCopyRows[t] >= 0
 *   vOut likewise, not rotated
 * </pre>
 *
 * The copy is how the answers of one prompt share its keys (design: segments have contiguous keys).
 * Nothing is saved: backward rotates the other way.
 */
public final class Rope {
  private static final Check CHECK = new Check("rope");

  private Rope() {}

  /**
   * Rotates and files.
   *
   * @param qOut [out] {@code [tokens, heads, headDim]}, rows may have gaps; may be q
   * @param kOut [out] {@code [keyRows, kvHeads, headDim]}; rows that nothing is filed to stay
   * @param vOut [out] as kOut
   * @param q {@code [tokens, heads, headDim]}, rows may have gaps
   * @param k {@code [tokens, kvHeads, headDim]}, rows may have gaps
   * @param v as k, with its row stride
   * @param cos {@code [maxPositions, headDim / 2]} f32; null, as sin, for no rotation
   * @param sin as cos
   * @param positions {@code [tokens]} i32
   * @param keyRows {@code [tokens]} i32, row of kOut
   * @param keyCopyRows {@code [tokens]} i32, second row of kOut, or -1
   */
  public static void forward(
      Backend backend,
      Tensor qOut,
      Tensor kOut,
      Tensor vOut,
      Tensor q,
      Tensor k,
      Tensor v,
      @Nullable Tensor cos,
      @Nullable Tensor sin,
      Tensor positions,
      Tensor keyRows,
      Tensor keyCopyRows) {
    check(q, k, v, "k", "v", kOut, vOut, "kOut", "vOut", cos, sin);
    CHECK.stridedLike("qOut", qOut, "q", q);
    checkRows(q, positions, keyRows, keyCopyRows);
    backend
        .kernels()
        .ropeForward(
            qOut,
            kOut,
            vOut,
            q,
            k,
            v,
            cos,
            sin,
            positions,
            keyRows,
            keyCopyRows,
            q.dim(0),
            q.dim(1),
            k.dim(1),
            q.dim(2),
            qOut.rowStride(),
            q.rowStride(),
            k.rowStride(),
            q.dtype());
  }

  /**
   * The transpose. A key that was filed twice gets the sum of both rows' gradients.
   *
   * @param dQ [out] shape of q; may be dQOut
   * @param dK [out] shape of k
   * @param dV [out] shape and row stride of dK
   * @param dQOut shape of q
   * @param dKOut {@code [keyRows, kvHeads, headDim]}
   * @param dVOut as dKOut
   */
  public static void backward(
      Backend backend,
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dQOut,
      Tensor dKOut,
      Tensor dVOut,
      @Nullable Tensor cos,
      @Nullable Tensor sin,
      Tensor positions,
      Tensor keyRows,
      Tensor keyCopyRows) {
    check(dQ, dK, dV, "dK", "dV", dKOut, dVOut, "dKOut", "dVOut", cos, sin);
    CHECK.stridedLike("dQOut", dQOut, "dQ", dQ);
    checkRows(dQ, positions, keyRows, keyCopyRows);
    backend
        .kernels()
        .ropeBackward(
            dQ,
            dK,
            dV,
            dQOut,
            dKOut,
            dVOut,
            cos,
            sin,
            positions,
            keyRows,
            keyCopyRows,
            dQ.dim(0),
            dQ.dim(1),
            dK.dim(1),
            dQ.dim(2),
            dQ.rowStride(),
            dK.rowStride(),
            dQOut.rowStride(),
            dQ.dtype());
  }

  private static void check(
      Tensor q,
      Tensor k,
      Tensor v,
      String kRole,
      String vRole,
      Tensor kOut,
      Tensor vOut,
      String kOutRole,
      String vOutRole,
      @Nullable Tensor cos,
      @Nullable Tensor sin) {
    CHECK.rank("q", q, "tokens", "heads", "headDim");
    CHECK.storage("q", q);
    CHECK.rank(kRole, k, "tokens", "kvHeads", "headDim");
    Check.Dim kvHeads = dim("kvHeads", k.dim(1));
    Check.Dim headDim = dim("headDim", q.dim(2));
    CHECK.strided(kRole, k, q.dtype(), dim("tokens", q.dim(0)), kvHeads, headDim);
    CHECK.stridedLike(vRole, v, kRole, k);
    CHECK.that(
        v.rowStride() == k.rowStride(),
        "%s has %d elements between rows, expected %d as %s has",
        vRole,
        v.rowStride(),
        k.rowStride(),
        kRole);
    CHECK.rank(kOutRole, kOut, "keyRows", "kvHeads", "headDim");
    CHECK.tensor(kOutRole, kOut, q.dtype(), dim("keyRows", kOut.dim(0)), kvHeads, headDim);
    CHECK.like(vOutRole, vOut, kOutRole, kOut);
    CHECK.together("cos", cos, "sin", sin);
    if (cos != null) {
      CHECK.rank("cos", cos, "maxPositions", "headDim/2");
      Check.Dim half = dim("headDim/2", q.dim(2) / 2);
      CHECK.that(q.dim(2) % 2 == 0, "headDim is %d, expected an even number", q.dim(2));
      CHECK.tensor("cos", cos, DType.F32, dim("maxPositions", cos.dim(0)), half);
      CHECK.like("sin", sin, "cos", cos);
    }
  }

  private static void checkRows(Tensor q, Tensor positions, Tensor keyRows, Tensor keyCopyRows) {
    Check.Dim tokens = dim("tokens", q.dim(0));
    CHECK.tensor("positions", positions, DType.I32, tokens);
    CHECK.tensor("keyRows", keyRows, DType.I32, tokens);
    CHECK.tensor("keyCopyRows", keyCopyRows, DType.I32, tokens);
  }
}
