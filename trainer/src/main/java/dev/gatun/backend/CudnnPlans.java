package dev.gatun.backend;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The plans of one device: in memory, else from a file in milliseconds, else compiled in seconds
 * and kept in a file. A plan's file is known by the graph, the device's compute capability and
 * number of multiprocessors, and cuDNN's version.
 */
final class CudnnPlans implements AutoCloseable {
  private final CudnnDevice device;
  private final long version;
  private final CudnnPlanFiles files;
  private final Map<String, CudnnPlan> plans = new HashMap<>();

  CudnnPlans(CudnnDevice device, long version, CudnnPlanFiles files) {
    this.device = device;
    this.version = version;
    this.files = files;
  }

  /**
   * The plan of the graph that {@code key} names.
   *
   * @param engine that runs it; null: as cuDNN proposes
   * @throws CudnnUnsupportedException if cuDNN has none
   */
  CudnnPlan get(String key, Supplier<CudnnGraph> graph, CudnnPlan.@Nullable Engine engine) {
    CudnnPlan plan = plans.get(key);
    if (plan == null) {
      plan = load(key, graph, engine);
      plans.put(key, plan);
    }
    return plan;
  }

  private CudnnPlan load(
      String key, Supplier<CudnnGraph> graph, CudnnPlan.@Nullable Engine engine) {
    String fileKey = fileKey(key, device.computeCapability(), device.multiprocessors(), version);
    String json = files.get(fileKey);
    if (json != null) {
      try {
        return CudnnPlan.deserialize(device, json.getBytes(StandardCharsets.UTF_8));
      } catch (NativeException e) {
        files.refused(fileKey, String.valueOf(e.getMessage()));
      }
    }
    CudnnPlan plan = CudnnPlan.compile(device, graph.get(), engine, key);
    files.put(fileKey, new String(plan.serialize(), StandardCharsets.UTF_8));
    return plan;
  }

  /** Names a plan's file. */
  static String fileKey(String key, int computeCapability, int multiprocessors, long version) {
    return "%s-sm%d-%d-cudnn%d".formatted(key, computeCapability, multiprocessors, version);
  }

  @Override
  public void close() {
    plans.values().forEach(CudnnPlan::close);
    plans.clear();
  }
}
