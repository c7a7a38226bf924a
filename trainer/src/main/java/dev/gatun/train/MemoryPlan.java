package dev.gatun.train;

import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Bytes by class of memory, known before the first step. */
record MemoryPlan(List<Line> lines) {
  record Line(String name, long sizeBytes) {}

  /** Of what is allocated. */
  static MemoryPlan of(Policy policy, long referenceBytes, long stepBytes) {
    return of(
        policy.parameters().layout().elementCount(),
        policy.parameters().dtype(),
        policy.optimizerBytes(),
        referenceBytes,
        stepBytes);
  }

  /**
   * Before anything is allocated.
   *
   * @param elements weights of the model
   * @param reference whether weights of as many elements stand beside the policy's
   * @param stepBytes activations, logits and what else lives for a step
   */
  static MemoryPlan expected(
      long elements, DType weights, OptimizerConfig optimizer, boolean reference, long stepBytes) {
    return of(
        elements,
        weights,
        elements * optimizer.bytesPerWeight(weights),
        reference ? elements * weights.sizeBytes() : 0,
        stepBytes);
  }

  private static MemoryPlan of(
      long elements, DType weights, long optimizerBytes, long referenceBytes, long stepBytes) {
    List<Line> lines = new ArrayList<>();
    lines.add(new Line("policy", elements * weights.sizeBytes()));
    if (referenceBytes > 0) {
      lines.add(new Line("reference", referenceBytes));
    }
    lines.add(new Line("gradients", elements * DType.F32.sizeBytes()));
    lines.add(new Line("optimizer", optimizerBytes));
    lines.add(new Line("step", stepBytes));
    return new MemoryPlan(lines);
  }

  /** A refusal of memory, with what the run needs in all and what would need less. */
  MemoryExhaustedException explain(MemoryExhaustedException refused) {
    return refused.explained(
        describe()
            + "; step shrinks with max_tokens_per_pack and gradient_checkpointing, policy and step"
            + " with bf16, optimizer with optim adamw_8bit or bf16_stochastic_round");
  }

  /** One line for people. */
  String describe() {
    StringBuilder text = new StringBuilder("memory: ");
    long total = 0;
    for (Line line : lines) {
      total += line.sizeBytes();
      text.append(line.name()).append(' ').append(megabytes(line.sizeBytes())).append(", ");
    }
    return text.append("in all ").append(megabytes(total)).toString();
  }

  private static String megabytes(long sizeBytes) {
    return String.format(Locale.ROOT, "%.1f MB", sizeBytes / 1e6);
  }
}
