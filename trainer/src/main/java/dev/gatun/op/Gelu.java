package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))} (arXiv:1606.08415, tanh
 * approximation; GPT-2's gelu_new). Any shape, contiguous. Saved: x.
 */
public final class Gelu {
  private static final Check CHECK = new Check("gelu");

  private Gelu() {}

  /**
   * Activates.
   *
   * @param y [out] shape of x
   */
  public static void forward(Backend backend, Tensor y, Tensor x) {
    check(x);
    CHECK.like("y", y, "x", x);
    backend.kernels().geluForward(y, x, x.elementCount(), x.dtype());
  }

  /**
   * {@code dX = dY * gelu'(x)}.
   *
   * @param dX [out] shape of x; may be dY or x
   * @param y [out] written again as in forward, so that it need not be kept; or null
   * @param dY shape of x
   */
  public static void backward(Backend backend, Tensor dX, @Nullable Tensor y, Tensor dY, Tensor x) {
    check(x);
    CHECK.like("dX", dX, "x", x);
    CHECK.like("y", y, "x", x);
    CHECK.like("dY", dY, "x", x);
    backend.kernels().geluBackward(dX, y, dY, x, x.elementCount(), x.dtype());
  }

  private static void check(Tensor x) {
    CHECK.storage("x", x);
    CHECK.contiguous("x", x);
  }
}
