package dev.gatun.cli;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import dev.gatun.train.ConfigException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** Reads a YAML file of options: flat keys, each with a scalar or a list of scalars. */
final class ConfigFile {
  /**
   * One key.
   *
   * @param values its scalars as they are written; {@code null} for YAML's null
   * @param place file and line, for errors
   */
  record Entry(List<String> values, String place) {}

  private ConfigFile() {}

  /**
   * The file's keys in their order, kebab case turned into snake case.
   *
   * @throws ConfigException naming file and line if the file is missing or holds anything else
   */
  static SequencedMap<String, Entry> read(Path file) {
    SequencedMap<String, Entry> entries = new LinkedHashMap<>();
    try (JsonParser parser = new YAMLFactory().createParser(Files.newBufferedReader(file))) {
      JsonToken first = parser.nextToken();
      if (first == null || first == JsonToken.VALUE_NULL) {
        return entries;
      }
      if (first != JsonToken.START_OBJECT) {
        throw wrong(file, parser, "expected lines of the form key: value");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String key = parser.currentName().replace('-', '_');
        String place = place(file, parser.currentTokenLocation());
        List<String> values = values(file, parser, key);
        if (entries.putIfAbsent(key, new Entry(values, place)) != null) {
          throw new ConfigException("config", "%s: %s is given twice".formatted(place, key));
        }
      }
      if (parser.nextToken() != null) {
        throw wrong(file, parser, "expected one document");
      }
    } catch (JacksonException e) {
      throw new ConfigException(
          "config",
          "%s: not YAML: %s"
              .formatted(
                  place(file, e.getLocation()),
                  e.getOriginalMessage().lines().findFirst().orElse("")));
    } catch (NoSuchFileException e) {
      throw new ConfigException("config", "%s does not exist".formatted(file));
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be read: " + e.getMessage(), e);
    }
    return entries;
  }

  private static List<String> values(Path file, JsonParser parser, String key) throws IOException {
    JsonToken token = parser.nextToken();
    if (token != JsonToken.START_ARRAY) {
      return List.of(scalar(file, parser, key));
    }
    List<String> values = new ArrayList<>();
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      values.add(scalar(file, parser, key));
    }
    return List.copyOf(values);
  }

  private static String scalar(Path file, JsonParser parser, String key) throws IOException {
    if (parser.currentToken() == JsonToken.VALUE_NULL) {
      return "null";
    }
    if (!parser.currentToken().isScalarValue()) {
      throw wrong(file, parser, key + ": expected a value or a list of values");
    }
    return parser.getText();
  }

  private static ConfigException wrong(Path file, JsonParser parser, String message) {
    return new ConfigException(
        "config", place(file, parser.currentTokenLocation()) + ": " + message);
  }

  private static String place(Path file, JsonLocation location) {
    return location == null ? file.toString() : file + ":" + location.getLineNr();
  }
}
