package dev.gatun.train;

import dev.gatun.report.EffectiveConfig;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Which models a run starts from.
 *
 * @param modelNameOrPath Hugging Face model directory of the policy's start
 * @param refModelNameOrPath model directory of the reference; null: the policy's start
 * @param dtype storage type of weights and activations
 */
public record ModelSource(
    Path modelNameOrPath, @Nullable Path refModelNameOrPath, PrecisionChoice dtype)
    implements EffectiveConfig.Section {
  public ModelSource {
    Objects.requireNonNull(modelNameOrPath, "modelNameOrPath");
    Objects.requireNonNull(dtype, "dtype");
  }

  /**
   * Storage type of the weights that are written: float32, which every run has or can make exactly,
   * unless {@code dtype} names bfloat16.
   */
  Precision saved() {
    return dtype == PrecisionChoice.BFLOAT16 ? Precision.BFLOAT16 : Precision.FLOAT32;
  }

  /** The reference's directory. */
  public Path reference() {
    return refModelNameOrPath == null ? modelNameOrPath : refModelNameOrPath;
  }
}
