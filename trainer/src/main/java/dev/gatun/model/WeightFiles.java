package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.FormatException;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.StoredTensor;
import dev.gatun.memory.Buffer;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Parameters from and to the weight files of a Hugging Face model directory. */
public final class WeightFiles {
  /** What older transformers versions stored besides parameters: tables that are computed. */
  private static final List<String> COMPUTED =
      List.of("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias");

  /** Values of another type than the model's are converted in parts of at most this. */
  private static final long CONVERSION_BYTES = 1L << 26;

  private WeightFiles() {}

  /**
   * Fills every parameter, converting f32, f16 and bf16 to the slab's type.
   *
   * @throws FormatException if a tensor is missing, has another shape, or is not part of the model
   */
  public static void read(Backend backend, ModelDirectory directory, Parameters parameters) {
    Set<String> unread = new HashSet<>(directory.names());
    for (Parameter parameter : parameters.layout().parameters()) {
      String name = nameIn(directory, parameter.name());
      StoredTensor stored = directory.tensor(name);
      if (!Arrays.equals(stored.shape(), parameter.shape())) {
        throw new FormatException(
            directory.path(),
            "%s has shape %s, expected %s by config.json; the weights belong to another model"
                .formatted(
                    name, Arrays.toString(stored.shape()), Arrays.toString(parameter.shape())));
      }
      unread.remove(name);
      copy(backend, parameters.get(parameter.name()), stored);
      stored.unload();
    }
    unread.removeIf(
        name -> COMPUTED.stream().anyMatch(name::endsWith) || isTiedHead(name, parameters));
    if (!unread.isEmpty()) {
      throw new FormatException(
          directory.path(),
          "has tensors that config.json does not speak of: %s; the weights belong to another model"
              .formatted(unread.stream().sorted().limit(5).toList()));
    }
  }

  /** A tied head may be stored all the same; the embedding speaks for both, as in transformers. */
  private static boolean isTiedHead(String name, Parameters parameters) {
    return name.equals("lm_head.weight") && !parameters.layout().contains(name);
  }

  /** The first GPT-2 checkpoints lack the {@code transformer.} that all others have. */
  private static String nameIn(ModelDirectory directory, String name) {
    String bare = name.startsWith("transformer.") ? name.substring("transformer.".length()) : name;
    return !directory.names().contains(name) && directory.names().contains(bare) ? bare : name;
  }

  private static void copy(Backend backend, Tensor target, StoredTensor stored) {
    if (stored.dtype() == target.dtype()) {
      backend.upload(target, stored.data());
      return;
    }
    int elementBytes = stored.dtype().sizeBytes();
    long chunk = Math.min(CONVERSION_BYTES, stored.sizeBytes()) / elementBytes;
    try (Buffer buffer = backend.allocate("conversion", chunk * elementBytes)) {
      for (long begin = 0; begin < target.elementCount(); begin += chunk) {
        long count = Math.min(chunk, target.elementCount() - begin);
        Tensor source = new Tensor(target.name(), stored.dtype(), new long[] {count}, buffer, 0);
        backend.upload(source, stored.data(begin * elementBytes, count * elementBytes));
        backend.cast(target.view(target.name(), begin, count), source);
      }
    }
  }

  /** Writes parameters, with the configuration and tokenizer of the directory they began in. */
  public static void write(
      Backend backend, Parameters parameters, ModelDirectory start, Path output) {
    start.save(output, stored(backend, parameters));
  }

  /** Parameters as a file holds them; their values are fetched when they are written. */
  public static List<StoredTensor> stored(Backend backend, Parameters parameters) {
    List<StoredTensor> tensors = new ArrayList<>();
    for (Parameter parameter : parameters.layout().parameters()) {
      Tensor tensor = parameters.get(parameter.name());
      tensors.add(
          new StoredTensor(
              parameter.name(),
              tensor.dtype(),
              parameter.shape(),
              (offset, size) -> backend.hostView(tensor, offset, size)));
    }
    return tensors;
  }
}
