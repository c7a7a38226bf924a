package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * Typed access to one JSON object of a file. A value of the wrong type or out of range is a {@link
 * FormatException} that names file, key, value and what was expected. A key with the value null
 * counts as absent.
 */
final class JsonFields {
  private static final int MAX_SHOWN = 80;

  private final Path file;
  private final String prefix;
  private final ObjectNode object;

  JsonFields(Path file, String prefix, ObjectNode object) {
    this.file = file;
    this.prefix = prefix;
    this.object = object;
  }

  Path file() {
    return file;
  }

  boolean isEmpty() {
    return object.isEmpty();
  }

  boolean has(String key) {
    return get(key) != null;
  }

  /** The key is written, even as null. */
  boolean mentions(String key) {
    return object.has(key);
  }

  List<String> keys() {
    return object.properties().stream().map(Map.Entry::getKey).toList();
  }

  @Nullable JsonNode get(String key) {
    JsonNode node = object.get(key);
    return node == null || node.isNull() ? null : node;
  }

  int requiredInt(String key, int min, int max) {
    return integer(key, require(key, "an integer from " + min + " to " + max), min, max);
  }

  int intOr(String key, int absent, int min, int max) {
    JsonNode node = get(key);
    return node == null ? absent : integer(key, node, min, max);
  }

  OptionalInt optionalInt(String key, int min, int max) {
    JsonNode node = get(key);
    return node == null ? OptionalInt.empty() : OptionalInt.of(integer(key, node, min, max));
  }

  /** A finite number greater than zero, also as f32, or {@code absent}. */
  double positiveOr(String key, double absent) {
    JsonNode node = get(key);
    return node == null ? absent : positive(key, node);
  }

  double requiredPositive(String key) {
    return positive(key, require(key, "a number greater than 0"));
  }

  boolean booleanOr(String key, boolean absent) {
    JsonNode node = get(key);
    if (node == null) {
      return absent;
    }
    if (!node.isBoolean()) {
      throw wrong(key, node, "true or false");
    }
    return node.booleanValue();
  }

  @Nullable String stringOrNull(String key) {
    JsonNode node = get(key);
    if (node == null) {
      return null;
    }
    if (!node.isTextual()) {
      throw wrong(key, node, "a string");
    }
    return node.textValue();
  }

  @Nullable List<String> stringsOrNull(String key) {
    JsonNode node = get(key);
    if (node == null) {
      return null;
    }
    if (!node.isArray()) {
      throw wrong(key, node, "an array of strings");
    }
    List<String> strings = new ArrayList<>(node.size());
    for (JsonNode element : node) {
      if (!element.isTextual()) {
        throw wrong(key, node, "an array of strings");
      }
      strings.add(element.textValue());
    }
    return strings;
  }

  /** One integer or an array of integers; empty if absent. */
  List<Integer> intsOrEmpty(String key, int min, int max) {
    JsonNode node = get(key);
    if (node == null) {
      return List.of();
    }
    if (!node.isArray()) {
      return List.of(integer(key, node, min, max));
    }
    List<Integer> integers = new ArrayList<>(node.size());
    for (JsonNode element : node) {
      integers.add(integer(key, element, min, max));
    }
    return List.copyOf(integers);
  }

  @Nullable JsonFields objectOrNull(String key) {
    JsonNode node = get(key);
    if (node == null) {
      return null;
    }
    if (node instanceof ObjectNode child) {
      return new JsonFields(file, prefix + key + ".", child);
    }
    throw wrong(key, node, "an object");
  }

  /** {@code key} holds {@code node}, which is not what {@code expected} says. */
  FormatException wrong(String key, JsonNode node, String expected) {
    return new FormatException(
        file, prefix + key + " is " + shown(node) + ", expected " + expected);
  }

  FormatException wrong(String key, String expected) {
    JsonNode node = object.get(key);
    return node == null ? missing(key, expected) : wrong(key, node, expected);
  }

  FormatException missing(String key, String expected) {
    return new FormatException(file, prefix + key + " is missing, expected " + expected);
  }

  static String shown(JsonNode node) {
    String text = node.toString();
    if (text.length() <= MAX_SHOWN) {
      return text;
    }
    int end = Character.isHighSurrogate(text.charAt(MAX_SHOWN - 1)) ? MAX_SHOWN - 1 : MAX_SHOWN;
    return text.substring(0, end) + "...";
  }

  private JsonNode require(String key, String expected) {
    JsonNode node = get(key);
    if (node == null) {
      throw wrong(key, expected);
    }
    return node;
  }

  private int integer(String key, JsonNode node, int min, int max) {
    if (!node.isIntegralNumber()
        || !node.canConvertToInt()
        || node.intValue() < min
        || node.intValue() > max) {
      throw wrong(key, node, "an integer from " + min + " to " + max);
    }
    return node.intValue();
  }

  private double positive(String key, JsonNode node) {
    double value = node.isNumber() ? node.doubleValue() : Double.NaN;
    // Every such number is used as f32, where it must neither vanish nor overflow.
    if (!((float) value > 0 && Float.isFinite((float) value))) {
      throw wrong(key, node, "a finite number greater than 0");
    }
    return value;
  }
}
