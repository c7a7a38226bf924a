package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.model.LayerParameters.NormParameters;
import dev.gatun.op.LayerNorm;
import dev.gatun.op.RmsNorm;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The normalization a family uses over the hidden dimension: layer norm in GPT-2, RMS norm else.
 */
final class Norm {
  private final Backend backend;
  private final ModelConfig config;
  private final boolean centered;

  Norm(Backend backend, ModelConfig config) {
    this.backend = backend;
    this.config = config;
    this.centered = isCentered(config);
  }

  private static boolean isCentered(ModelConfig config) {
    return config.family() == Family.GPT2;
  }

  /** Statistics that the backward pass reads: {@code [tokens]} f32 each. */
  record Saved(@Nullable Tensor mean, Tensor rstd) {
    static Saved allocate(Slab slab, ModelConfig config, String name, long tokens) {
      return new Saved(
          isCentered(config) ? slab.allocate(name + " mean", DType.F32, tokens) : null,
          slab.allocate(name + " rstd", DType.F32, tokens));
    }

    /** Of the first tokens. */
    Saved rows(long count) {
      return new Saved(mean == null ? null : mean.rows(0, count), rstd.rows(0, count));
    }
  }

  /**
   * sum = x + delta; y = norm(sum). All {@code [tokens, hidden]}; without {@code delta}, y =
   * norm(x).
   */
  void forward(
      Tensor y,
      @Nullable Tensor sum,
      Saved saved,
      Tensor x,
      @Nullable Tensor delta,
      NormParameters weights) {
    if (centered) {
      LayerNorm.forward(
          backend,
          y,
          sum,
          Objects.requireNonNull(saved.mean()),
          saved.rstd(),
          x,
          delta,
          weights.weight(),
          Objects.requireNonNull(weights.bias()),
          config.normEps());
    } else {
      RmsNorm.forward(
          backend,
          y,
          sum,
          saved.rstd(),
          x,
          delta,
          weights.weight(),
          config.normEps(),
          config.normWeightOffset());
    }
  }

  /** dX = dResidual + gradient of x; weight gradients accumulate. */
  void backward(
      Tensor dX,
      NormParameters gradients,
      Tensor dY,
      Tensor x,
      NormParameters weights,
      Saved saved,
      @Nullable Tensor dResidual) {
    if (centered) {
      LayerNorm.backward(
          backend,
          dX,
          gradients.weight(),
          Objects.requireNonNull(gradients.bias()),
          dY,
          x,
          weights.weight(),
          Objects.requireNonNull(saved.mean()),
          saved.rstd(),
          dResidual);
    } else {
      RmsNorm.backward(
          backend,
          dX,
          gradients.weight(),
          dY,
          x,
          weights.weight(),
          saved.rstd(),
          dResidual,
          config.normWeightOffset());
    }
  }
}
