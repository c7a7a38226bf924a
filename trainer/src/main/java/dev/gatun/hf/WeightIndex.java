package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.SequencedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * {@code model.safetensors.index.json}: which file of a sharded model holds which tensor.
 *
 * @param totalBytes what all tensors together measure, where the file says so
 * @param shards the file name for each tensor name
 */
record WeightIndex(OptionalLong totalBytes, Map<String, String> shards) {
  static final String FILE_NAME = "model.safetensors.index.json";

  private static final String EXTENSION = ".safetensors";

  /** Reads an index. A shard is a plain file name, in the folder of the index. */
  static WeightIndex parse(Path file, byte[] bytes) {
    ObjectNode root = Json.parseObject(file, bytes);
    if (!(root.get("weight_map") instanceof ObjectNode weightMap)) {
      throw new FormatException(
          file, "weight_map is missing or no object, expected {tensor: file}");
    }
    Map<String, String> shards = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
      shards.put(entry.getKey(), shard(file, entry.getKey(), entry.getValue()));
    }
    if (shards.isEmpty()) {
      throw new FormatException(file, "weight_map is empty, expected {tensor: file}");
    }
    return new WeightIndex(totalBytes(file, root.path("metadata").path("total_size")), shards);
  }

  /** The names of all files, sorted. */
  SequencedSet<String> files() {
    return new TreeSet<>(shards.values());
  }

  /** The index of a model that lies in these files. */
  static ObjectNode toJson(Map<String, List<StoredTensor>> shards) {
    List<StoredTensor> tensors = shards.values().stream().flatMap(Collection::stream).toList();
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.putObject("metadata")
        .put("total_parameters", tensors.stream().mapToLong(StoredTensor::elementCount).sum())
        .put("total_size", SafetensorsWriter.dataBytes(tensors));
    Map<String, String> fileOf =
        shards.entrySet().stream()
            .flatMap(
                shard -> shard.getValue().stream().map(t -> Map.entry(t.name(), shard.getKey())))
            .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue));
    ObjectNode weightMap = root.putObject("weight_map");
    new TreeMap<>(fileOf).forEach(weightMap::put);
    return root;
  }

  private static String shard(Path file, String tensor, JsonNode value) {
    String shard = value.textValue();
    if (shard == null
        || !shard.endsWith(EXTENSION)
        || shard.length() == EXTENSION.length()
        || shard.chars().anyMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ')) {
      throw new FormatException(
          file,
          "weight_map puts tensor %s into %s, expected the name of a %s file in the same folder"
              .formatted(Shown.quoted(tensor), Shown.line(value.toString()), EXTENSION));
    }
    return shard;
  }

  private static OptionalLong totalBytes(Path file, JsonNode value) {
    if (value.isMissingNode() || value.isNull()) {
      return OptionalLong.empty();
    }
    // Some writers put a float there.
    if (!value.isNumber()
        || !value.canConvertToExactIntegral()
        || !value.canConvertToLong()
        || value.longValue() < 0) {
      throw new FormatException(
          file,
          "metadata.total_size is %s, expected a number of bytes"
              .formatted(Shown.line(value.toString())));
    }
    return OptionalLong.of(value.longValue());
  }
}
