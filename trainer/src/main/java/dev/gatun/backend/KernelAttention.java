package dev.gatun.backend;

import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Attention by the rows of the kernel table: any head size, window, soft-cap and type. */
final class KernelAttention implements AttentionProvider {
  /** By which lengths launches are sized. */
  enum LaunchSize {
    /** Those of the segments: where the host is the device, they are also what kernels read. */
    EXACT,
    /**
     * One length for all, of few different ones, so that launches repeat: two an octave. A block
     * without work ends at once.
     */
    REPEATING
  }

  private static final int SHORTEST_LAUNCH = 128;

  private final Kernels kernels;
  private final LaunchSize size;

  KernelAttention(Kernels kernels, LaunchSize size) {
    this.kernels = kernels;
    this.size = size;
  }

  /** The length of the longest keys, and so of queries too, as launches see it. */
  @Override
  public long launch(int[] hostSegments) {
    int longest = 0;
    for (int i = 3; i < hostSegments.length; i += 4) {
      longest = Math.max(longest, hostSegments[i]);
    }
    int step = Math.max(SHORTEST_LAUNCH, Integer.highestOneBit(longest) / 2);
    return Math.multiplyExact((long) Math.ceilDiv(longest, step), step);
  }

  private int[] launchSizes(int[] hostSegments) {
    if (size == LaunchSize.EXACT) {
      return hostSegments;
    }
    int[] sizes = hostSegments.clone();
    int length = Math.toIntExact(launch(hostSegments));
    for (int i = 1; i < sizes.length; i += 2) {
      sizes[i] = length;
    }
    return sizes;
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
        launchSizes(hostSegments),
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
        launchSizes(hostSegments),
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
