package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** A {@link RopeTable} on the device; empty for a family without rotation. */
final class RopeTables implements AutoCloseable {
  private final @Nullable Buffer buffer;
  private final @Nullable Tensor cos;
  private final @Nullable Tensor sin;

  private RopeTables(@Nullable Buffer buffer, @Nullable Tensor cos, @Nullable Tensor sin) {
    this.buffer = buffer;
    this.cos = cos;
    this.sin = sin;
  }

  static RopeTables create(Backend backend, ModelConfig config, int positions) {
    if (config.rope() == null) {
      return new RopeTables(null, null, null);
    }
    RopeTable table = RopeTable.of(config, positions);
    Buffer buffer = backend.allocate("rope", sizeBytes(config, positions));
    Slab slab = new Slab(buffer);
    Tensor cos = allocate(slab, config, positions);
    Tensor sin = allocate(slab, config, positions);
    backend.upload(cos, table.cos());
    backend.upload(sin, table.sin());
    return new RopeTables(buffer, cos, sin);
  }

  /** Bytes of both tables. */
  static long sizeBytes(ModelConfig config, int positions) {
    Slab planner = Slab.planner();
    if (config.rope() != null) {
      allocate(planner, config, positions);
      allocate(planner, config, positions);
    }
    return planner.highWaterBytes();
  }

  private static Tensor allocate(Slab slab, ModelConfig config, int positions) {
    return slab.allocate("rope", DType.F32, positions, config.headDim() / 2);
  }

  /** {@code [positions, headDim / 2]} f32. */
  @Nullable Tensor cos() {
    return cos;
  }

  @Nullable Tensor sin() {
    return sin;
  }

  @Override
  public void close() {
    if (buffer != null) {
      buffer.close();
    }
  }
}
