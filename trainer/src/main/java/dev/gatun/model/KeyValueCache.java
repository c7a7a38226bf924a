package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Keys and values of tokens already seen: per layer {@code [rows, kvHeads, headDim]} each. */
final class KeyValueCache implements AutoCloseable {
  private final Buffer buffer;
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();

  KeyValueCache(Backend backend, ModelConfig config, DType dtype, int rows) {
    long elements = (long) rows * config.numKeyValueHeads() * config.headDim();
    long sizeBytes = Math.ceilDiv(elements * dtype.sizeBytes(), 64L) * 64;
    buffer = backend.allocate("key-value cache", 2L * config.numLayers() * sizeBytes);
    long[] shape = {rows, config.numKeyValueHeads(), config.headDim()};
    for (int i = 0; i < config.numLayers(); i++) {
      keys.add(new Tensor("key cache", dtype, shape, buffer, 2L * i * sizeBytes));
      values.add(new Tensor("value cache", dtype, shape, buffer, (2L * i + 1) * sizeBytes));
    }
  }

  List<Tensor> keys() {
    return keys;
  }

  List<Tensor> values() {
    return values;
  }

  @Override
  public void close() {
    buffer.close();
  }
}
