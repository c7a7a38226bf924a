package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import java.util.ArrayList;
import java.util.List;
import java.util.ListIterator;
import org.jspecify.annotations.Nullable;

/** A compiled graph: the kernels that run it on one device. */
final class CudnnPlan implements AutoCloseable {
  private final List<CudnnDescriptor> owned;
  private final CudnnDescriptor plan;
  private final long workspaceBytes;

  private CudnnPlan(List<CudnnDescriptor> owned, CudnnDescriptor plan) {
    this.owned = owned;
    this.plan = plan;
    this.workspaceBytes = plan.getLong(CudnnAttribute.EXECUTION_PLAN_WORKSPACE_SIZE);
  }

  /**
   * An engine that heuristics do not name.
   *
   * @param index its number for the graph
   * @param knobs types and values, in pairs
   */
  record Engine(long index, List<Long> knobs) {
    Engine {
      knobs = List.copyOf(knobs);
      if (knobs.size() % 2 != 0) {
        throw new IllegalArgumentException("cudnn engine: knobs " + knobs + ", expected pairs");
      }
    }
  }

  /**
   * Compiles a graph, which takes from a quarter of a second to a few. The first configuration that
   * heuristics name and that compiles is taken.
   *
   * @param engine to take instead; null: as heuristics say
   * @throws CudnnUnsupportedException if there is none
   */
  static CudnnPlan compile(
      CudnnDevice device, CudnnGraph graph, @Nullable Engine engine, String name) {
    List<CudnnDescriptor> owned = new ArrayList<>();
    try {
      CudnnDescriptor operations = graph.describe(owned);
      List<CudnnDescriptor> configs =
          engine == null
              ? proposed(owned, operations, device)
              : List.of(configured(owned, operations, device, engine));
      return new CudnnPlan(owned, firstThatCompiles(owned, configs, device, name));
    } catch (RuntimeException e) {
      close(owned);
      throw e;
    }
  }

  private static List<CudnnDescriptor> proposed(
      List<CudnnDescriptor> owned, CudnnDescriptor operations, CudnnDevice device) {
    CudnnDescriptor heuristics = create(owned, CudnnDescriptorType.ENGINEHEUR);
    heuristics
        .set(CudnnAttribute.ENGINEHEUR_OPERATION_GRAPH, operations)
        .set(CudnnAttribute.ENGINEHEUR_MODE, Cudnn.CUDNN_HEUR_MODE_A())
        .set(CudnnAttribute.ENGINEHEUR_DEVICEPROP, device.descriptor())
        .finish();
    List<CudnnDescriptor> configs = heuristics.getEngineConfigs();
    owned.addAll(configs);
    return configs;
  }

  private static CudnnDescriptor configured(
      List<CudnnDescriptor> owned, CudnnDescriptor operations, CudnnDevice device, Engine engine) {
    CudnnDescriptor descriptor =
        create(owned, CudnnDescriptorType.ENGINE)
            .set(CudnnAttribute.ENGINE_OPERATION_GRAPH, operations)
            .set(CudnnAttribute.ENGINE_GLOBAL_INDEX, engine.index())
            .set(CudnnAttribute.ENGINE_DEVICEPROP, device.descriptor())
            .finish();
    List<CudnnDescriptor> choices = new ArrayList<>();
    for (int i = 0; i < engine.knobs().size(); i += 2) {
      choices.add(
          create(owned, CudnnDescriptorType.KNOB_CHOICE)
              .set(CudnnAttribute.KNOB_CHOICE_KNOB_TYPE, engine.knobs().get(i))
              .set(CudnnAttribute.KNOB_CHOICE_KNOB_VALUE, engine.knobs().get(i + 1))
              .finish());
    }
    return create(owned, CudnnDescriptorType.ENGINECFG)
        .set(CudnnAttribute.ENGINECFG_ENGINE, descriptor)
        .set(CudnnAttribute.ENGINECFG_KNOB_CHOICES, choices)
        .finish();
  }

  private static CudnnDescriptor firstThatCompiles(
      List<CudnnDescriptor> owned, List<CudnnDescriptor> configs, CudnnDevice device, String name) {
    String reason = "its heuristics name no engine";
    for (CudnnDescriptor config : configs) {
      CudnnDescriptor plan = create(owned, CudnnDescriptorType.EXECUTION_PLAN);
      plan.set(CudnnAttribute.EXECUTION_PLAN_ENGINE_CONFIG, config);
      try {
        return plan.finish();
      } catch (NativeException e) {
        reason = e.getMessage();
      }
    }
    throw new CudnnUnsupportedException(
        "cuDNN has no plan for %s on %s: %s (CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr shows more)"
            .formatted(name, device, reason));
  }

  /** A plan from what {@link #serialize} gave on a device alike; takes milliseconds. */
  static CudnnPlan deserialize(CudnnDevice device, byte[] json) {
    List<CudnnDescriptor> owned = new ArrayList<>();
    try {
      CudnnDescriptor plan = create(owned, CudnnDescriptorType.EXECUTION_PLAN);
      plan.set(CudnnAttribute.EXECUTION_PLAN_DEVICEPROP, device.descriptor())
          .set(CudnnAttribute.EXECUTION_PLAN_JSON_REPRESENTATION, json)
          .finish();
      return new CudnnPlan(owned, plan);
    } catch (RuntimeException e) {
      close(owned);
      throw e;
    }
  }

  /** The plan, with its kernels, as JSON. */
  byte[] serialize() {
    return plan.getText(CudnnAttribute.EXECUTION_PLAN_JSON_REPRESENTATION);
  }

  CudnnDescriptor descriptor() {
    return plan;
  }

  /** Device memory that a run needs. */
  long workspaceBytes() {
    return workspaceBytes;
  }

  @Override
  public void close() {
    close(owned);
  }

  private static CudnnDescriptor create(List<CudnnDescriptor> owned, CudnnDescriptorType type) {
    CudnnDescriptor descriptor = CudnnDescriptor.create(type);
    owned.add(descriptor);
    return descriptor;
  }

  /** Closes in reverse, since later descriptors refer to earlier ones. */
  private static void close(List<CudnnDescriptor> owned) {
    ListIterator<CudnnDescriptor> last = owned.listIterator(owned.size());
    while (last.hasPrevious()) {
      last.previous().close();
    }
  }
}
