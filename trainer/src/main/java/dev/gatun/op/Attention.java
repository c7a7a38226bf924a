package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Softmax attention over variable-length segments, causal, aligned bottom-right, with grouped
 * queries: query head h reads key head {@code h / (heads / kvHeads)}.
 *
 * <pre>
 *   s   = scale * q . k, then softcap * tanh(s / softcap) if softcap > 0
 *   out = softmax(s) v        over j <= i + keyLength - queryLength, and, with a window,
 *   lse = log sum exp s            j >  i + keyLength - queryLength - window
 * </pre>
 *
 * Saved: q, k, v, out, lse. Scores are never stored whole.
 */
public final class Attention {
  private static final Check CHECK = new Check("attention");

  private Attention() {}

  /**
   * Attends. Rows outside all segments are left alone.
   *
   * @param out [out] {@code [tokens, heads * headDim]} or {@code [tokens, heads, headDim]}
   * @param lse [out] {@code [tokens, heads]} f32, natural log; null if no backward follows
   * @param q {@code [tokens, heads, headDim]}, rows may have gaps
   * @param k {@code [keyRows, kvHeads, headDim]}
   * @param v as k
   */
  public static void forward(
      Backend backend,
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Segments segments,
      AttentionOptions options) {
    check(q, k, v, segments);
    checkRow("out", out, q);
    CHECK.tensor("lse", lse, DType.F32, dim("tokens", q.dim(0)), dim("heads", q.dim(1)));
    backend
        .attention()
        .forward(
            out,
            lse,
            q,
            k,
            v,
            segments.table(),
            segments.fields(),
            options.scale(),
            options.softcap(),
            options.window());
  }

  /**
   * Recomputes the probabilities from lse.
   *
   * @param dQ [out] shape of q, rows may have gaps
   * @param dK [out] shape of k; every row of a segment's keys is overwritten
   * @param dV [out] shape of v; as dK
   * @param dOut shape of out
   */
  public static void backward(
      Backend backend,
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Segments segments,
      AttentionOptions options) {
    check(q, k, v, segments);
    CHECK.that(segments.keysDisjoint(), "segments share keys, expected disjoint for gradients");
    checkRow("out", out, q);
    checkRow("dOut", dOut, q);
    CHECK.tensor("lse", lse, DType.F32, dim("tokens", q.dim(0)), dim("heads", q.dim(1)));
    CHECK.stridedLike("dQ", dQ, "q", q);
    CHECK.like("dK", dK, "k", k);
    CHECK.like("dV", dV, "v", v);
    backend
        .attention()
        .backward(
            dQ,
            dK,
            dV,
            dOut,
            out,
            lse,
            q,
            k,
            v,
            segments.table(),
            segments.fields(),
            options.scale(),
            options.softcap(),
            options.window());
  }

  private static void check(Tensor q, Tensor k, Tensor v, Segments segments) {
    CHECK.rank("q", q, "tokens", "heads", "headDim");
    CHECK.storage("q", q);
    CHECK.rank("k", k, "keyRows", "kvHeads", "headDim");
    CHECK.tensor(
        "k",
        k,
        q.dtype(),
        dim("keyRows", k.dim(0)),
        dim("kvHeads", k.dim(1)),
        dim("headDim", q.dim(2)));
    CHECK.like("v", v, "k", k);
    CHECK.that(
        k.dim(1) > 0 && q.dim(1) % k.dim(1) == 0,
        "%d query heads for %d key heads, expected a multiple",
        q.dim(1),
        k.dim(1));
    CHECK.that(
        segments.queryEnd() <= q.dim(0),
        "segments have queries up to row %d, q has %d rows",
        segments.queryEnd(),
        q.dim(0));
    CHECK.that(
        segments.keyEnd() <= k.dim(0),
        "segments have keys up to row %d, k has %d rows",
        segments.keyEnd(),
        k.dim(0));
  }

  private static void checkRow(String role, Tensor tensor, Tensor q) {
    CHECK.tensor(
        role,
        tensor.matrix(),
        q.dtype(),
        dim("tokens", q.dim(0)),
        dim("heads*headDim", q.dim(1) * q.dim(2)));
  }
}
