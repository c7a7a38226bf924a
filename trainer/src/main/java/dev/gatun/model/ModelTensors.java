package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;

/**
 * What passes over a model carve out of a slab, which takes neither its weights nor a device to
 * know: on a planning slab it is only counted.
 */
public record ModelTensors(ModelConfig config) {
  /** The activations of a batch of this shape. */
  public Activations activations(
      Slab slab, DType dtype, Activations.Policy policy, BatchShape shape) {
    return Activations.allocate(slab, config, dtype, policy, shape);
  }

  /** The head's tensors for a batch of this shape. */
  public LanguageModelHead.Outputs head(
      Slab slab, DType dtype, BatchShape shape, LanguageModelHead.Weighting weighting) {
    return LanguageModelHead.Outputs.allocate(slab, config, dtype, shape, weighting);
  }
}
