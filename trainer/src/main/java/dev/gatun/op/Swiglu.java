package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Gated activation (arXiv:2002.05202).
 *
 * <pre>
 *   [gate | up] = gateUp
 *   y = activation(gate) * up
 * </pre>
 *
 * With {@link Activation#SILU} it is SwiGLU, with {@link Activation#GELU_TANH} GeGLU. Saved:
 * gateUp.
 */
public final class Swiglu {
  private static final Check CHECK = new Check("swiglu");

  private Swiglu() {}

  /**
   * Activates.
   *
   * @param y [out] {@code [tokens, width]}
   * @param gateUp {@code [tokens, 2 * width]}
   */
  public static void forward(Backend backend, Tensor y, Tensor gateUp, Activation activation) {
    long width = check(gateUp);
    checkHalf("y", y, gateUp, width);
    backend
        .kernels()
        .swigluForward(y, gateUp, gateUp.dim(0), width, activation.code(), gateUp.dtype());
  }

  /**
   *
   *
   * <pre>
   *   dGate = dY * up * activation'(gate)
   *   dUp   = dY * activation(gate)
   * </pre>
   *
   * @param dGateUp [out] shape of gateUp; may be gateUp
   * @param y [out] written again as in forward, so that it need not be kept; or null
   * @param dY {@code [tokens, width]}
   */
  public static void backward(
      Backend backend,
      Tensor dGateUp,
      @Nullable Tensor y,
      Tensor dY,
      Tensor gateUp,
      Activation activation) {
    long width = check(gateUp);
    CHECK.like("dGateUp", dGateUp, "gateUp", gateUp);
    checkHalf("y", y, gateUp, width);
    checkHalf("dY", dY, gateUp, width);
    backend
        .kernels()
        .swigluBackward(
            dGateUp, y, dY, gateUp, gateUp.dim(0), width, activation.code(), gateUp.dtype());
  }

  private static long check(Tensor gateUp) {
    CHECK.rank("gateUp", gateUp, "tokens", "2*width");
    CHECK.storage("gateUp", gateUp);
    CHECK.contiguous("gateUp", gateUp);
    CHECK.that(gateUp.dim(1) % 2 == 0, "gateUp has %d columns, expected even", gateUp.dim(1));
    return gateUp.dim(1) / 2;
  }

  private static void checkHalf(String role, @Nullable Tensor half, Tensor gateUp, long width) {
    CHECK.tensor(role, half, gateUp.dtype(), dim("tokens", gateUp.dim(0)), dim("width", width));
  }
}
