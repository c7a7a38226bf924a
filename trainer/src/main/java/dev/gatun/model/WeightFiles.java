package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.FormatException;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.StoredTensor;
import dev.gatun.memory.Buffer;
import dev.gatun.op.Master;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
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
  private static final long CONVERSION_ELEMENTS = 1L << 22;

  /** What becomes of a value half-way between two of the slab's type. */
  public enum Ties {
    /** As {@link Backend#cast} rounds. */
    TO_EVEN,
    /** As {@link Master} rounds, so that a bf16 slab has the bits of one with exact masters. */
    AWAY_FROM_ZERO
  }

  private WeightFiles() {}

  /** As below, with ties to even. */
  public static void read(Backend backend, ModelDirectory directory, Parameters parameters) {
    read(backend, directory, parameters, Ties.TO_EVEN);
  }

  /**
   * Fills every parameter, converting f32, f16 and bf16 to the slab's type.
   *
   * @throws FormatException if a tensor is missing, has another shape, or is not part of the model
   */
  public static void read(
      Backend backend, ModelDirectory directory, Parameters parameters, Ties ties) {
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
      copy(backend, parameters.get(parameter.name()), stored, ties);
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

  private static void copy(Backend backend, Tensor target, StoredTensor stored, Ties ties) {
    if (stored.dtype() == target.dtype()) {
      backend.upload(target, stored.data());
      return;
    }
    int elementBytes = stored.dtype().sizeBytes();
    long chunk = Math.min(CONVERSION_ELEMENTS, target.elementCount());
    Slab planner = Slab.planner();
    Conversion.of(planner, stored.dtype(), chunk);
    try (Buffer buffer = backend.allocate("conversion", planner.highWaterBytes())) {
      Slab slab = new Slab(buffer);
      for (long begin = 0; begin < target.elementCount(); begin += chunk) {
        long count = Math.min(chunk, target.elementCount() - begin);
        slab.reset(0);
        Conversion conversion = Conversion.of(slab, stored.dtype(), count);
        backend.upload(conversion.stored, stored.data(begin * elementBytes, count * elementBytes));
        conversion.run(backend, target.view(target.name(), begin, count), ties);
      }
    }
  }

  /**
   * A part of a tensor on its way to another type.
   *
   * @param exact the same values in f32
   * @param remainder what bf16 leaves of them
   */
  private record Conversion(Tensor stored, Tensor exact, Tensor remainder) {
    static Conversion of(Slab slab, DType dtype, long count) {
      return new Conversion(
          slab.allocate("stored", dtype, count),
          slab.allocate("exact", DType.F32, count),
          slab.allocate("remainder", DType.U16, count));
    }

    void run(Backend backend, Tensor target, Ties ties) {
      if (ties == Ties.TO_EVEN || target.dtype() != DType.BF16) {
        backend.cast(target, stored);
      } else {
        backend.cast(exact, stored);
        Master.split(backend, target, remainder, exact);
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
