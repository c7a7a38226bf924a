package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.Parameter;
import dev.gatun.model.Parameters;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * A model without files, for measurements: matrices of normally distributed numbers, biases 0,
 * norms the identity. To be there at once whatever its size, it repeats one block of numbers, of a
 * length that no row of a matrix has.
 */
record RandomModel(ModelConfig config, long seed) implements StartModel {
  private static final int BLOCK = 1_048_583; // a prime

  @Override
  public void load(Backend backend, Parameters parameters) {
    float[] numbers = new float[BLOCK];
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < BLOCK; i++) {
      numbers[i] = (float) (NewModel.INITIALIZER_RANGE * random.nextGaussian());
    }
    for (Parameter parameter : parameters.layout().parameters()) {
      if (parameter.shape().length > 1) {
        repeat(backend, parameters.get(parameter.name()), numbers);
      } else if (parameter.name().endsWith(".weight")) {
        float[] identity = new float[Math.toIntExact(parameter.elementCount())];
        Arrays.fill(identity, 1 - config.normWeightOffset());
        backend.upload(requireF32(parameters.get(parameter.name())), identity);
      }
    }
  }

  private static void repeat(Backend backend, Tensor tensor, float[] numbers) {
    requireF32(tensor);
    for (long begin = 0; begin < tensor.elementCount(); begin += BLOCK) {
      int count = (int) Math.min(BLOCK, tensor.elementCount() - begin);
      backend.upload(
          tensor.view(tensor.name(), begin, count),
          count == BLOCK ? numbers : Arrays.copyOf(numbers, count));
    }
  }

  private static Tensor requireF32(Tensor tensor) {
    if (tensor.dtype() != DType.F32) {
      throw new IllegalArgumentException(tensor + ", expected f32");
    }
    return tensor;
  }

  @Override
  public void save(Backend backend, Parameters parameters, Path output) {
    throw new IllegalStateException("a model without files has no tokenizer to be saved with");
  }

  /** Does nothing: there are no files. */
  @Override
  public void close() {}
}
