package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.Tensor;

/** {@code dst = (1 - alpha) dst + alpha src}: how TR-DPO moves the reference to the policy. */
public final class Mix {
  private static final Check CHECK = new Check("mix");

  private Mix() {}

  /**
   * Mixes.
   *
   * @param dst [in,out] any shape, contiguous, f32 or bf16
   * @param src shape and type of dst
   */
  public static void apply(Backend backend, Tensor dst, Tensor src, double alpha) {
    CHECK.storage("dst", dst);
    CHECK.contiguous("dst", dst);
    CHECK.like("src", src, "dst", dst);
    backend.kernels().mix(dst, src, dst.elementCount(), alpha, dst.dtype());
  }
}
