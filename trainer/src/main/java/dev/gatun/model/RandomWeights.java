package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import java.util.Arrays;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * The weights that training from nothing starts with, as transformers draws them: matrices and
 * embeddings from a normal distribution, biases 0, norms the identity.
 */
public final class RandomWeights {
  private static final String GENERATOR = "L64X128MixRandom";

  private RandomWeights() {}

  /**
   * Fills all parameters; the same seed gives the same weights on every machine.
   *
   * @param deviation standard deviation of matrices; GPT-2's projections back into the residual
   *     stream have it divided by the square root of their number, as in its paper
   */
  public static void fill(
      Backend backend, Parameters parameters, ModelConfig config, double deviation, long seed) {
    RandomGenerator random = RandomGeneratorFactory.of(GENERATOR).create(seed);
    for (Parameter parameter : parameters.layout().parameters()) {
      backend.upload(
          parameters.get(parameter.name()), values(parameter, config, deviation, random));
    }
  }

  private static float[] values(
      Parameter parameter, ModelConfig config, double deviation, RandomGenerator random) {
    float[] values = new float[Math.toIntExact(parameter.elementCount())];
    if (parameter.shape().length > 1) {
      boolean intoResidual =
          config.family() == ModelConfig.Family.GPT2 && parameter.name().endsWith("c_proj.weight");
      double scale = intoResidual ? deviation / Math.sqrt(2.0 * config.numLayers()) : deviation;
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (scale * random.nextGaussian());
      }
    } else if (parameter.name().endsWith(".weight")) {
      Arrays.fill(values, 1 - config.normWeightOffset());
    }
    return values;
  }
}
