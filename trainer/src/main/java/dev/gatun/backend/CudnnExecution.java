package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/**
 * A plan and the variant packs that it was run with: a pack cannot be changed once it is finished,
 * but the same addresses come back in every step, so that packs are made in the first steps only.
 */
final class CudnnExecution implements AutoCloseable {
  /** More than two passes of a deep model; packs beyond are made again. */
  private static final int MAX_PACKS = 1024;

  private final CudnnPlan plan;
  private final List<CudnnAttentionGraph.Role> roles;
  private final MemorySegment uids;
  private final MemorySegment addresses;
  private final SequencedMap<Addresses, CudnnDescriptor> packs = new LinkedHashMap<>();

  /** Addresses of a pack, in the order of roles, then the workspace. */
  private record Addresses(long[] values) {
    @Override
    public boolean equals(Object other) {
      return other instanceof Addresses that && Arrays.equals(values, that.values);
    }

    @Override
    public int hashCode() {
      return Arrays.hashCode(values);
    }
  }

  /** Where each tensor lies now. */
  @FunctionalInterface
  interface Places {
    MemorySegment of(CudnnAttentionGraph.Role role);
  }

  /**
   * @param plan stays the caller's
   * @param graph that the plan was made of
   * @param arena of what packs are made from
   */
  CudnnExecution(CudnnPlan plan, CudnnGraph graph, Arena arena) {
    this.plan = plan;
    this.roles = graph.packed().stream().map(CudnnAttentionGraph.Role::of).toList();
    this.uids =
        arena.allocateFrom(
            ValueLayout.JAVA_LONG,
            roles.stream().mapToLong(CudnnAttentionGraph.Role::uid).toArray());
    this.addresses = arena.allocate(ValueLayout.JAVA_LONG, roles.size());
  }

  CudnnPlan plan() {
    return plan;
  }

  /**
   * Enqueues the plan on the stream of {@code handle}.
   *
   * @param workspace of at least {@link CudnnPlan#workspaceBytes}
   */
  void run(MemorySegment handle, Places places, MemorySegment workspace) {
    long[] values = new long[roles.size() + 1];
    for (int i = 0; i < roles.size(); i++) {
      values[i] = places.of(roles.get(i)).address();
    }
    values[roles.size()] = workspace.address();
    CudnnDescriptor pack = packs.computeIfAbsent(new Addresses(values), this::pack);
    CudnnStatus.check(
        "cudnnBackendExecute",
        Cudnn.cudnnBackendExecute(handle, plan.descriptor().address(), pack.address()));
    if (packs.size() > MAX_PACKS) {
      CudnnDescriptor oldest = packs.pollFirstEntry().getValue();
      oldest.close();
    }
  }

  private CudnnDescriptor pack(Addresses of) {
    MemorySegment.copy(of.values(), 0, addresses, ValueLayout.JAVA_LONG, 0, roles.size());
    return CudnnDescriptor.create(CudnnDescriptorType.VARIANT_PACK)
        .setRaw(CudnnAttribute.VARIANT_PACK_UNIQUE_IDS, roles.size(), uids)
        .setRaw(CudnnAttribute.VARIANT_PACK_DATA_POINTERS, roles.size(), addresses)
        .set(CudnnAttribute.VARIANT_PACK_WORKSPACE, of.values()[roles.size()])
        .finish();
  }

  /** Frees the packs. */
  @Override
  public void close() {
    packs.values().forEach(CudnnDescriptor::close);
    packs.clear();
  }
}
