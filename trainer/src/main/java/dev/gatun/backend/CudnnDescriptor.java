package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import dev.gatun.memory.ReleasedException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * A backend descriptor of cuDNN: created, its attributes set, then {@link #finish finished}, after
 * which attributes can only be read. Failures are {@link NativeException}s that name function,
 * descriptor and attribute.
 *
 * <p>Three uses after which cuDNN ends the process are refused here: a plan from an engine
 * configuration that heuristics did not fill in, a plan from JSON without a device, and anything
 * with a closed descriptor.
 */
final class CudnnDescriptor implements AutoCloseable {
  private final CudnnDescriptorType type;
  private final Set<CudnnAttribute> given = EnumSet.noneOf(CudnnAttribute.class);
  private MemorySegment handle;
  private boolean finished;

  private CudnnDescriptor(CudnnDescriptorType type, MemorySegment handle) {
    this.type = type;
    this.handle = handle;
  }

  /** An empty descriptor. */
  static CudnnDescriptor create(CudnnDescriptorType type) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
      int status = Cudnn.cudnnBackendCreateDescriptor(type.code(), out);
      CudnnDescriptor descriptor = new CudnnDescriptor(type, out.get(ValueLayout.ADDRESS, 0));
      descriptor.check("cudnnBackendCreateDescriptor", status);
      return descriptor;
    }
  }

  /** Sets integers, enum codes or, as 0 and 1, booleans. */
  CudnnDescriptor set(CudnnAttribute attribute, long... values) {
    try (Arena arena = Arena.ofConfined()) {
      setRaw(attribute, values.length, encode(arena, attribute.type(), values));
    }
    return this;
  }

  /** Sets finished descriptors. */
  CudnnDescriptor set(CudnnAttribute attribute, CudnnDescriptor... children) {
    long[] addresses = new long[children.length];
    for (int i = 0; i < children.length; i++) {
      CudnnDescriptor child = children[i];
      if (!child.finished && child.type != CudnnDescriptorType.ENGINECFG) {
        throw new IllegalStateException(
            "%s of %s: %s is not finished, expected finished"
                .formatted(attribute.headerName(), type.headerName(), child.type.headerName()));
      }
      addresses[i] = child.address().address();
    }
    if (attribute == CudnnAttribute.EXECUTION_PLAN_ENGINE_CONFIG) {
      requireFilled(children);
    }
    return set(attribute, addresses);
  }

  CudnnDescriptor set(CudnnAttribute attribute, List<CudnnDescriptor> children) {
    return set(attribute, children.toArray(CudnnDescriptor[]::new));
  }

  /** Sets memory addresses. */
  CudnnDescriptor set(CudnnAttribute attribute, MemorySegment... pointers) {
    return set(attribute, Arrays.stream(pointers).mapToLong(MemorySegment::address).toArray());
  }

  /** Sets a text. */
  CudnnDescriptor set(CudnnAttribute attribute, byte[] text) {
    try (Arena arena = Arena.ofConfined()) {
      setRaw(attribute, text.length, arena.allocateFrom(ValueLayout.JAVA_BYTE, text));
    }
    return this;
  }

  /** Sets {@code count} elements that lie in native memory. */
  CudnnDescriptor setRaw(CudnnAttribute attribute, long count, MemorySegment elements) {
    if (count * attribute.type().sizeBytes() > elements.byteSize()) {
      throw new IllegalArgumentException(
          "%s: %d elements of %d bytes do not fit in %d bytes"
              .formatted(
                  attribute.headerName(),
                  count,
                  attribute.type().sizeBytes(),
                  elements.byteSize()));
    }
    check(
        "cudnnBackendSetAttribute",
        attribute,
        Cudnn.cudnnBackendSetAttribute(
            address(), attribute.code(), attribute.type().code(), count, elements));
    given.add(attribute);
    return this;
  }

  /** Checks and seals the descriptor; compiles, if it is a plan. */
  CudnnDescriptor finish() {
    if (type == CudnnDescriptorType.EXECUTION_PLAN
        && given.contains(CudnnAttribute.EXECUTION_PLAN_JSON_REPRESENTATION)
        && !given.contains(CudnnAttribute.EXECUTION_PLAN_DEVICEPROP)) {
      throw new IllegalStateException(
          "%s: has %s without %s, expected both"
              .formatted(
                  type.headerName(),
                  CudnnAttribute.EXECUTION_PLAN_JSON_REPRESENTATION.headerName(),
                  CudnnAttribute.EXECUTION_PLAN_DEVICEPROP.headerName()));
    }
    check("cudnnBackendFinalize", Cudnn.cudnnBackendFinalize(address()));
    finished = true;
    return this;
  }

  /** The first element of an integer attribute. */
  long getLong(CudnnAttribute attribute) {
    if (attribute.type() != CudnnType.INT64) {
      throw new IllegalArgumentException(
          "%s is %s, expected %s"
              .formatted(
                  attribute.headerName(),
                  attribute.type().headerName(),
                  CudnnType.INT64.headerName()));
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(ValueLayout.JAVA_LONG);
      get(attribute, 1, value);
      return value.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /** A text attribute. */
  byte[] getText(CudnnAttribute attribute) {
    long size = get(attribute, 0, MemorySegment.NULL);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(size);
      long written = get(attribute, size, text);
      byte[] bytes = text.asSlice(0, written).toArray(ValueLayout.JAVA_BYTE);
      int end = bytes.length; // what cuDNN counts may include the terminating zero
      while (end > 0 && bytes[end - 1] == 0) {
        end--;
      }
      return Arrays.copyOf(bytes, end);
    }
  }

  /**
   * The results of heuristics, best first. cuDNN announces more than it gives; those that it did
   * not fill in are closed again.
   */
  List<CudnnDescriptor> getEngineConfigs() {
    long announced = get(CudnnAttribute.ENGINEHEUR_RESULTS, 0, MemorySegment.NULL);
    CudnnDescriptor[] configs = new CudnnDescriptor[Math.toIntExact(announced)];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment handles = arena.allocate(ValueLayout.ADDRESS, Math.max(1, announced));
      for (int i = 0; i < configs.length; i++) {
        configs[i] = create(CudnnDescriptorType.ENGINECFG);
        handles.setAtIndex(ValueLayout.ADDRESS, i, configs[i].handle);
      }
      int filled =
          announced == 0
              ? 0
              : Math.toIntExact(get(CudnnAttribute.ENGINEHEUR_RESULTS, announced, handles));
      for (int i = 0; i < configs.length; i++) {
        if (i < filled) {
          configs[i].finished = true;
        } else {
          configs[i].close();
        }
      }
      return List.of(configs).subList(0, Math.min(filled, configs.length));
    }
  }

  /** The {@code cudnnBackendDescriptor_t}. */
  MemorySegment address() {
    if (handle.equals(MemorySegment.NULL)) {
      throw new ReleasedException(type.headerName());
    }
    return handle;
  }

  /** Frees the descriptor. A second call does nothing. */
  @Override
  public void close() {
    if (!handle.equals(MemorySegment.NULL)) {
      MemorySegment closing = handle;
      handle = MemorySegment.NULL;
      check("cudnnBackendDestroyDescriptor", Cudnn.cudnnBackendDestroyDescriptor(closing));
    }
  }

  /** Elements as cuDNN reads them: booleans in one byte, enums in four, all else in eight. */
  static MemorySegment encode(Arena arena, CudnnType type, long... values) {
    MemorySegment elements =
        arena.allocate(Math.max(1, (long) values.length * type.sizeBytes()), Long.BYTES);
    for (int i = 0; i < values.length; i++) {
      switch (type.sizeBytes()) {
        case 1 -> elements.setAtIndex(ValueLayout.JAVA_BYTE, i, (byte) values[i]);
        case 4 -> elements.setAtIndex(ValueLayout.JAVA_INT, i, Math.toIntExact(values[i]));
        default -> elements.setAtIndex(ValueLayout.JAVA_LONG, i, values[i]);
      }
    }
    return elements;
  }

  private static void requireFilled(CudnnDescriptor[] configs) {
    for (CudnnDescriptor config : configs) {
      if (!config.finished) {
        throw new IllegalStateException(
            "%s: engine configuration was neither finished nor filled in by heuristics"
                .formatted(CudnnAttribute.EXECUTION_PLAN_ENGINE_CONFIG.headerName()));
      }
    }
  }

  private long get(CudnnAttribute attribute, long count, MemorySegment elements) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment written = arena.allocate(ValueLayout.JAVA_LONG);
      check(
          "cudnnBackendGetAttribute",
          attribute,
          Cudnn.cudnnBackendGetAttribute(
              address(), attribute.code(), attribute.type().code(), count, written, elements));
      return written.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /** Makes texts only where they are needed: variant packs are made for every call. */
  private void check(String function, CudnnAttribute attribute, int status) {
    if (status != Cudnn.CUDNN_STATUS_SUCCESS()) {
      CudnnStatus.check(
          "%s(%s, %s)".formatted(function, type.headerName(), attribute.headerName()), status);
    }
  }

  private void check(String function, int status) {
    if (status != Cudnn.CUDNN_STATUS_SUCCESS()) {
      CudnnStatus.check("%s(%s)".formatted(function, type.headerName()), status);
    }
  }

  @Override
  public String toString() {
    return type.headerName();
  }
}
