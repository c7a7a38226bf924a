package dev.gatun.train;

import dev.gatun.backend.BackendMemory;
import dev.gatun.hf.ModelConfig;
import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.ParameterLayout;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Bytes by class of memory: all that a run allocates on its device and keeps while it trains, known
 * before any of it is. Steps allocate nothing. Not counted: what drivers and libraries take for
 * themselves, and cuDNN's attention.
 */
public record MemoryPlan(List<Line> lines) {
  /** One class. */
  public record Line(String name, long sizeBytes) {}

  public MemoryPlan {
    lines = List.copyOf(lines);
  }

  /**
   * The memory of one step.
   *
   * @param slabBytes of the slab that every pack uses anew
   * @param activations bytes of it
   * @param logits bytes of it
   * @param results bytes that the packs of a step leave for the host
   */
  record Step(long slabBytes, long activations, long logits, long results) {}

  /**
   * The plan of a run.
   *
   * @param referenceBytes weights that stand beside the policy's
   * @param positions longest text
   * @param shape large enough for every pack
   */
  static MemoryPlan of(
      ModelConfig model,
      DType weights,
      OptimizerConfig optimizer,
      long referenceBytes,
      int positions,
      BatchShape shape,
      Step step,
      BackendMemory backend) {
    long elements = ParameterLayout.of(model).elementCount();
    List<Line> lines = new ArrayList<>();
    lines.add(new Line("policy", elements * weights.sizeBytes()));
    lines.add(new Line("gradients", elements * DType.F32.sizeBytes()));
    lines.add(new Line("optimizer", optimizer.sizeBytes(elements, weights)));
    if (referenceBytes > 0) {
      lines.add(new Line("reference", referenceBytes));
    }
    lines.add(new Line("activations", step.activations()));
    lines.add(new Line("logits", step.logits()));
    lines.add(
        new Line("batch", step.slabBytes() - step.activations() - step.logits() + step.results()));
    lines.add(
        new Line(
            "workspace",
            TrainingSetup.workspaceBytes(backend, model, shape)
                + backend.matmulBytes()
                + Decoder.sizeBytes(model, positions)));
    return new MemoryPlan(lines);
  }

  /** Bytes of all classes. */
  public long totalBytes() {
    return lines.stream().mapToLong(Line::sizeBytes).sum();
  }

  /** A refusal of memory, with what the run needs in all and what would need less. */
  MemoryExhaustedException explain(MemoryExhaustedException refused) {
    return refused.explained(
        describe()
            + "; activations, logits and batch shrink with max_tokens_per_pack, activations with"
            + " gradient_checkpointing, policy and activations with bf16, optimizer with optim"
            + " adamw_8bit or bf16_stochastic_round");
  }

  /** One line for people. */
  String describe() {
    StringBuilder text = new StringBuilder("memory: ");
    for (Line line : lines) {
      text.append(line.name()).append(' ').append(megabytes(line.sizeBytes())).append(", ");
    }
    return text.append("in all ").append(megabytes(totalBytes())).toString();
  }

  private static String megabytes(long sizeBytes) {
    return String.format(Locale.ROOT, "%.1f MB", sizeBytes / 1e6);
  }
}
