package dev.gatun.train;

import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Bytes by class of memory, known before the first step. */
record MemoryPlan(List<Line> lines) {
  record Line(String name, long sizeBytes) {}

  static MemoryPlan of(Policy policy, long referenceBytes, long stepBytes) {
    List<Line> lines = new ArrayList<>();
    long elements = policy.parameters().layout().elementCount();
    lines.add(new Line("policy", elements * policy.parameters().dtype().sizeBytes()));
    if (referenceBytes > 0) {
      lines.add(new Line("reference", referenceBytes));
    }
    lines.add(new Line("gradients", elements * DType.F32.sizeBytes()));
    lines.add(new Line("optimizer", policy.optimizerBytes()));
    lines.add(new Line("step", stepBytes));
    return new MemoryPlan(lines);
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
