package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;

/**
 * The global norm of all gradients, and the factor that clips them, as {@code
 * torch.nn.utils.clip_grad_norm_}. The sum is kept in double.
 */
public final class GradNorm {
  private static final Check CHECK = new Check("gradnorm");

  private GradNorm() {}

  /**
   *
   *
   * <pre>
   *   normAndScale[0] = sqrt(sum gradient^2)
   *   normAndScale[1] = min(1, maxNorm / (norm + 1e-6)), or 1 if maxNorm is 0
   * </pre>
   *
   * @param normAndScale [out] {@code [2]} f32
   * @param gradient {@code [count]} f32
   */
  public static void forward(Backend backend, Tensor normAndScale, Tensor gradient, float maxNorm) {
    CHECK.tensor("normAndScale", normAndScale, DType.F32, dim("norm and scale", 2));
    CHECK.type("gradient", gradient, DType.F32);
    CHECK.contiguous("gradient", gradient);
    backend.kernels().gradnorm(normAndScale, gradient, gradient.elementCount(), maxNorm);
  }
}
