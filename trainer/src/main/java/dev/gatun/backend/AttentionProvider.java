package dev.gatun.backend;

import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Who computes attention on a device: its own kernels, or a library's. Both passes mean what {@code
 * attention_forward} and {@code attention_backward} of the kernel table mean; extents and types are
 * checked in {@code dev.gatun.op}.
 *
 * <p>Segments come twice: i32 {@code [segments, 4]} on the device, and the same numbers in host
 * memory, an array that is not changed as long as the segments are in use.
 */
public interface AttentionProvider {
  /** The word that chooses it: {@code gatun}. */
  String name();

  /**
   * Tells that calls with these segments come; enqueues what they need on the device. Calls may
   * change between the two that were told of last.
   */
  default void prepare(int[] hostSegments) {}

  /**
   * What the launches of calls with these segments depend on, besides their number and table: equal
   * values, equal launches. The segments were prepared last, or last but one.
   */
  long launch(int[] hostSegments);

  /**
   * Attends.
   *
   * @param out [out] {@code [tokens, heads * headDim]}
   * @param lse [out] {@code [tokens, heads]} f32, natural log; null if no backward follows
   * @param q {@code [tokens, heads, headDim]}, rows may have gaps
   * @param k {@code [keyRows, kvHeads, headDim]}
   * @param v as k
   * @param softcap 0 for none
   * @param window keys that a query sees at most; 0 for all
   */
  void forward(
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window);

  /**
   * Recomputes the probabilities from lse.
   *
   * @param dQ [out] shape of q, rows may have gaps
   * @param dK [out] shape of k; every row of a segment's keys is overwritten
   * @param dV [out] as dK
   */
  void backward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window);
}
