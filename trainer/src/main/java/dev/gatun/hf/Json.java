package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Reads the JSON files of a model directory: duplicate keys and trailing text are errors. */
final class Json {
  static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS) // Python writes Infinity
          .build();

  private Json() {}

  /** The object that {@code file} holds; a FormatException says what else it holds, and where. */
  static ObjectNode readObject(Path file, long maxBytes) {
    try {
      long size = Files.size(file);
      if (size > maxBytes) {
        throw new FormatException(
            file, "is " + size + " bytes, expected at most " + maxBytes + " bytes");
      }
      return parseObject(file, Files.readAllBytes(file));
    } catch (NoSuchFileException e) {
      throw new FormatException(file, "does not exist", e);
    } catch (IOException e) {
      throw new FormatException(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  static ObjectNode parseObject(Path file, byte[] bytes) {
    JsonNode node;
    try {
      node = MAPPER.readTree(bytes);
    } catch (JsonProcessingException e) {
      throw malformed(file, e);
    } catch (IOException e) {
      throw new FormatException(
          file, "is not valid JSON: " + firstLine(String.valueOf(e.getMessage())), e);
    }
    if (node instanceof ObjectNode object) {
      return object;
    }
    throw new FormatException(file, "holds " + kind(node) + ", expected a JSON object");
  }

  static FormatException malformed(Path file, JsonProcessingException e) {
    String place =
        e.getLocation() == null
            ? ""
            : " at line "
                + e.getLocation().getLineNr()
                + ", column "
                + e.getLocation().getColumnNr();
    return new FormatException(
        file, "is not valid JSON" + place + ": " + firstLine(e.getOriginalMessage()), e);
  }

  /** "an array", "a string"...: what {@code node} is, for messages. */
  static String kind(JsonNode node) {
    return switch (node.getNodeType()) {
      case ARRAY -> "an array";
      case OBJECT, POJO -> "an object";
      case STRING, BINARY -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "a boolean";
      case NULL -> "null";
      case MISSING -> "nothing";
    };
  }

  private static String firstLine(String message) {
    return message.lines().findFirst().orElse("unreadable");
  }
}
