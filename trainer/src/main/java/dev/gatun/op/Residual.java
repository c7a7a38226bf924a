package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.Tensor;

/**
 * {@code y = x + delta}: the residual stream, where no norm follows that could do it on the way.
 * Backward is the identity for both inputs. Nothing is saved.
 */
public final class Residual {
  private static final Check CHECK = new Check("residual");

  private Residual() {}

  /**
   * Adds.
   *
   * @param y [out] shape of x; may be x or delta
   * @param x any shape, contiguous
   * @param delta shape of x
   */
  public static void forward(Backend backend, Tensor y, Tensor x, Tensor delta) {
    CHECK.storage("x", x);
    CHECK.contiguous("x", x);
    CHECK.like("y", y, "x", x);
    CHECK.like("delta", delta, "x", x);
    backend.kernels().residualForward(y, x, delta, x.elementCount(), x.dtype());
  }
}
