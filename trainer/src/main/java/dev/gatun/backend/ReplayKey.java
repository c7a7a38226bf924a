package dev.gatun.backend;

import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What the operations of {@link Backend#replay} depend on: equal keys, equal operations with equal
 * arguments on the same memory. What that memory holds may differ.
 *
 * @param work its name
 * @param facts addresses, types and extents
 */
public record ReplayKey(String work, List<Object> facts) {
  public ReplayKey {
    facts = List.copyOf(facts);
  }

  /**
   * A key of tensors, from whose places and shapes those of all others follow.
   *
   * @param launch size of attention's launches; see {@link AttentionProvider#launch}
   */
  public static ReplayKey of(String work, long launch, Tensor... operands) {
    List<Object> facts = new ArrayList<>();
    facts.add(launch);
    for (Tensor operand : operands) {
      facts.add(operand.address().address());
      facts.add(operand.dtype());
      facts.add(Arrays.stream(operand.shape()).boxed().toList());
    }
    return new ReplayKey(work, facts);
  }
}
