package dev.gatun.backend;

import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Attention by the rows of the kernel table: any head size, window, soft-cap and type. */
final class KernelAttention implements AttentionProvider {
  private final Kernels kernels;

  KernelAttention(Kernels kernels) {
    this.kernels = kernels;
  }

  @Override
  public String name() {
    return "gatun";
  }

  @Override
  public void forward(
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window) {
    kernels.attentionForward(
        out,
        lse,
        q,
        k,
        v,
        segments,
        hostSegments,
        q.dim(1),
        k.dim(1),
        q.dim(2),
        q.rowStride(),
        scale,
        softcap,
        window,
        q.dtype());
  }

  @Override
  public void backward(
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
      int window) {
    kernels.attentionBackward(
        dQ,
        dK,
        dV,
        dOut,
        out,
        lse,
        q,
        k,
        v,
        segments,
        hostSegments,
        q.dim(1),
        k.dim(1),
        q.dim(2),
        dQ.rowStride(),
        q.rowStride(),
        scale,
        softcap,
        window,
        q.dtype());
  }
}
