package dev.gatun.optim;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Buffer;
import dev.gatun.model.Parameters;
import dev.gatun.op.GradNorm;
import dev.gatun.op.Master;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Updates the policy's slab from its gradient slab: gradient norm and clipping, then the rule of a
 * subclass. Holds the moments, one slab each, and, for bf16 weights, the 16 low bits that make them
 * exact f32 master weights, unless they are rounded stochastically: plain bf16 steps at
 * preference-training rates round to nothing.
 */
public abstract sealed class Optimizer implements AutoCloseable
    permits AdamW, AdamW8bit, RmsProp, Sgd {
  final Backend backend;
  final Parameters weights;
  final Parameters gradients;
  final @Nullable Tensor remainder;
  final Tensor gradientScale;
  private final Tensor normAndScale;
  private final List<Buffer> owned = new ArrayList<>();

  Optimizer(Backend backend, Parameters weights, Parameters gradients, Bf16Steps bf16Steps) {
    this.backend = backend;
    this.weights = weights;
    this.gradients = gradients;
    this.remainder =
        weights.dtype() == DType.BF16 && bf16Steps == Bf16Steps.EXACT
            ? slab("weight remainder", DType.U16)
            : null;
    this.normAndScale = tensor("gradient norm and scale", DType.F32, 2);
    this.gradientScale = normAndScale.view("gradient scale", 1, 1);
  }

  /**
   * Takes the exact values of bf16 weights from a f32 slab of the same layout; without this call
   * the masters are the bf16 values.
   */
  public final void setMaster(Tensor exact) {
    Master.split(backend, weights.all(), remainder, exact);
  }

  /** Writes the exact f32 weights to a slab of the same layout. */
  public final void master(Tensor exact) {
    Master.join(backend, exact, weights.all(), remainder);
  }

  /**
   * The global norm of the gradients, for {@link #update}.
   *
   * @param maxNorm gradients are scaled down to this norm; 0 leaves them alone
   * @return {@code [2]} f32: the norm before clipping, and the factor that clips
   */
  public final Tensor gradientNorm(double maxNorm) {
    GradNorm.forward(backend, normAndScale, gradients.all(), (float) maxNorm);
    return normAndScale;
  }

  /** Applies the gradients, times the factor of the last {@link #gradientNorm}, to the weights. */
  public abstract void update(double learningRate);

  /** A slab of zeros as large as the weights', owned by this optimizer. */
  final Tensor slab(String name, DType dtype) {
    return tensor(name, dtype, weights.layout().elementCount());
  }

  /** A tensor of zeros, owned by this optimizer. */
  final Tensor tensor(String name, DType dtype, long count) {
    Buffer buffer = backend.allocate(name, Math.multiplyExact(count, dtype.sizeBytes()));
    owned.add(buffer);
    return new Tensor(name, dtype, new long[] {count}, buffer, 0);
  }

  /** Frees the moments. */
  @Override
  public void close() {
    owned.forEach(Buffer::close);
  }
}
