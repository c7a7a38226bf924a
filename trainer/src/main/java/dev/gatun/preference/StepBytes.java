package dev.gatun.preference;

import dev.gatun.model.Activations;
import dev.gatun.model.BatchShape;
import dev.gatun.model.LanguageModelHead.Outputs;
import dev.gatun.model.LanguageModelHead.Weighting;
import dev.gatun.model.ModelTensors;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;

/** The two large parts of what a step takes. */
public record StepBytes(long activations, long logits) {
  static StepBytes plan(
      Slab planner,
      ModelTensors model,
      DType dtype,
      Activations.Policy keep,
      BatchShape shape,
      Weighting weighting) {
    long begin = planner.mark();
    model.activations(planner, dtype, keep, shape);
    long activations = planner.mark() - begin;
    Outputs outputs = model.head(planner, dtype, shape, weighting);
    return new StepBytes(activations, outputs.logits().sizeBytes());
  }
}
