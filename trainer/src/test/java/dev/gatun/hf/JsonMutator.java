package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.random.RandomGenerator;

/** Breaks a JSON text in ways that a fuzzer should try: in its bytes, or in its values. */
final class JsonMutator {
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private final RandomGenerator random;

  JsonMutator(RandomGenerator random) {
    this.random = random;
  }

  /** {@code tree} as text, with one to four things changed. */
  byte[] mutate(JsonNode tree) {
    if (random.nextInt(4) == 0) {
      return mutateBytes(tree.toString().getBytes(StandardCharsets.UTF_8));
    }
    JsonNode copy = tree.deepCopy();
    for (int i = random.nextInt(1, 4); i > 0; i--) {
      mutateValue(copy);
    }
    byte[] bytes = copy.toString().getBytes(StandardCharsets.UTF_8);
    return random.nextInt(16) == 0 ? mutateBytes(bytes) : bytes;
  }

  private byte[] mutateBytes(byte[] bytes) {
    int place = random.nextInt(bytes.length);
    int length = Math.min(random.nextInt(1, 9), bytes.length - place);
    byte[] before = Arrays.copyOf(bytes, place);
    byte[] there = Arrays.copyOfRange(bytes, place, place + length);
    byte[] behind = Arrays.copyOfRange(bytes, place + length, bytes.length);
    return switch (random.nextInt(5)) {
      case 0 -> {
        there[0] = (byte) random.nextInt();
        yield concat(before, there, behind);
      }
      case 1 -> {
        there[0] = (byte) "{}[]\",:\\0-e.".charAt(random.nextInt(12));
        yield concat(before, there, behind);
      }
      case 2 -> concat(before, behind);
      case 3 -> concat(before, there, there, behind);
      default -> before;
    };
  }

  private static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      whole.writeBytes(part);
    }
    return whole.toByteArray();
  }

  /** Walks down a random path and changes a value, a key or an element there. */
  private void mutateValue(JsonNode root) {
    JsonNode node = root;
    while (true) {
      List<JsonNode> containers = new ArrayList<>();
      for (JsonNode child : node) {
        if (child.isContainerNode() && !child.isEmpty()) {
          containers.add(child);
        }
      }
      if (containers.isEmpty() || random.nextInt(3) == 0) {
        break;
      }
      node = containers.get(random.nextInt(containers.size()));
    }
    switch (node) {
      case ObjectNode object when !object.isEmpty() -> {
        List<Map.Entry<String, JsonNode>> entries = List.copyOf(object.properties());
        Map.Entry<String, JsonNode> entry = entries.get(random.nextInt(entries.size()));
        switch (random.nextInt(4)) {
          case 0 -> object.remove(entry.getKey());
          case 1 -> object.set(entry.getKey() + "x", object.remove(entry.getKey()));
          default -> object.set(entry.getKey(), value(entry.getValue()));
        }
      }
      case ArrayNode array when !array.isEmpty() -> {
        int index = random.nextInt(array.size());
        switch (random.nextInt(4)) {
          case 0 -> array.remove(index);
          case 1 -> array.insert(index, array.get(random.nextInt(array.size())).deepCopy());
          default -> array.set(index, value(array.get(index)));
        }
      }
      default -> {}
    }
  }

  private JsonNode value(JsonNode before) {
    if (before.isNumber() && random.nextBoolean()) {
      return switch (random.nextInt(4)) {
        case 0 -> NODES.numberNode(before.longValue() + random.nextInt(-2, 3));
        case 1 -> NODES.numberNode(-before.longValue());
        case 2 -> NODES.numberNode(before.longValue() * random.nextInt(1 << 20));
        default -> NODES.numberNode(before.doubleValue() + 0.5);
      };
    }
    return switch (random.nextInt(14)) {
      case 0 -> NODES.nullNode();
      case 1 -> NODES.booleanNode(random.nextBoolean());
      case 2 -> NODES.numberNode(0);
      case 3 -> NODES.numberNode(-1);
      case 4 -> NODES.numberNode(Integer.MAX_VALUE);
      case 5 -> NODES.numberNode(Long.MIN_VALUE);
      case 6 -> NODES.numberNode(1e308);
      case 7 -> NODES.numberNode(1e-320);
      case 8 -> NODES.textNode("");
      case 9 -> NODES.textNode("\u0000\ud83d\ude00 (?");
      case 10 -> NODES.arrayNode();
      case 11 -> NODES.objectNode();
      case 12 -> NODES.arrayNode().add(before.deepCopy());
      default -> NODES.objectNode().set("type", before.deepCopy());
    };
  }
}
