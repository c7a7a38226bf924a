package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Writes config.json so that transformers of version 4 and of version 5 read the same from it. */
final class ConfigJson {
  private static final String THETA = "rope_theta";
  private static final String TYPE = "rope_type";

  /** The spelling of {@link #TYPE} before transformers 4.43. */
  private static final String OLD_TYPE = "type";

  /** The scalings that transformers knew before 4.43; it asks for exactly type and factor. */
  private static final Set<String> OLD_SCALINGS = Set.of("linear", "dynamic");

  private static final Map<ElementType, String> TORCH_NAMES =
      new EnumMap<>(
          Map.of(
              ElementType.F32, "float32",
              ElementType.BF16, "bfloat16",
              ElementType.F16, "float16"));

  /** As {@code json.dumps(indent=2)} of Python writes, which puts Infinity as a bare word. */
  private static final ObjectWriter WRITER =
      Json.MAPPER
          .writer(
              new DefaultPrettyPrinter(
                      Separators.createDefaultInstance()
                          .withObjectFieldValueSpacing(Separators.Spacing.AFTER)
                          .withObjectEmptySeparator("")
                          .withArrayEmptySeparator(""))
                  .withObjectIndenter(new DefaultIndenter("  ", "\n"))
                  .withArrayIndenter(new DefaultIndenter("  ", "\n")))
          .with(JsonWriteFeature.ESCAPE_NON_ASCII)
          .without(JsonWriteFeature.WRITE_NAN_AS_STRINGS);

  private ConfigJson() {}

  /**
   * The configuration with every renamed key under both names: {@code dtype} and {@code
   * torch_dtype}, of what {@code tensors} are; {@code rope_parameters}, and {@code rope_theta} with
   * {@code rope_scaling}.
   */
  static ObjectNode underBothNames(ObjectNode config, Collection<StoredTensor> tensors) {
    ObjectNode both = config.deepCopy();
    String dtype = torchName(tensors);
    if (dtype != null) {
      both.put("dtype", dtype).put("torch_dtype", dtype);
    }
    if (both.get("rope_parameters") instanceof ObjectNode parameters) {
      // Parameters for each kind of layer, as Gemma 3 has them, never had an old form.
      if (parameters.has(THETA)) {
        both.set(THETA, parameters.get(THETA));
        both.set("rope_scaling", scaling(parameters));
      }
    } else if (both.has(THETA)) {
      both.set("rope_parameters", parameters(both.get(THETA), both.path("rope_scaling")));
    }
    return both;
  }

  /** The text of a JSON file, keys sorted. */
  static byte[] text(JsonNode json) {
    try {
      return (WRITER.writeValueAsString(sorted(json)) + '\n').getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a JSON tree that cannot be written", e);
    }
  }

  private static JsonNode scaling(ObjectNode parameters) {
    String type = parameters.path(TYPE).asText("default");
    if (type.equals("default")) {
      return JsonNodeFactory.instance.nullNode();
    }
    ObjectNode scaling = parameters.deepCopy().without(THETA);
    return OLD_SCALINGS.contains(type) ? scaling.put(OLD_TYPE, type).without(TYPE) : scaling;
  }

  private static ObjectNode parameters(JsonNode theta, JsonNode scaling) {
    ObjectNode parameters =
        scaling instanceof ObjectNode object
            ? object.deepCopy()
            : JsonNodeFactory.instance.objectNode();
    parameters.set(THETA, theta);
    if (!parameters.has(TYPE)) {
      parameters.put(TYPE, parameters.path(OLD_TYPE).asText("default"));
    }
    return parameters.without(OLD_TYPE);
  }

  /** The type of most elements, by torch's name; null if that is none that models have. */
  private static @Nullable String torchName(Collection<StoredTensor> tensors) {
    Map<ElementType, Long> counts = new EnumMap<>(ElementType.class);
    tensors.forEach(tensor -> counts.merge(tensor.type(), tensor.elementCount(), Long::sum));
    return counts.entrySet().stream()
        .max(Map.Entry.comparingByValue())
        .map(most -> TORCH_NAMES.get(most.getKey()))
        .orElse(null);
  }

  private static JsonNode sorted(JsonNode json) {
    if (json.isArray()) {
      return JsonNodeFactory.instance
          .arrayNode()
          .addAll(json.valueStream().map(ConfigJson::sorted).toList());
    }
    if (!json.isObject()) {
      return json;
    }
    TreeMap<String, JsonNode> fields = new TreeMap<>();
    json.properties().forEach(field -> fields.put(field.getKey(), sorted(field.getValue())));
    return JsonNodeFactory.instance.objectNode().setAll(fields);
  }
}
