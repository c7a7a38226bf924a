package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.TextNode;
import dev.gatun.hf.TokenizerComponents.Section;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * {@code tokenizer.json}: the tokens with their ids, a check that the native tokenizer will survive
 * the rest, and the text to hand to it.
 */
final class TokenizerJson {
  private static final long MAX_FILE_BYTES = 512L << 20;

  /** Reads single values out of the middle of a text. */
  private static final ObjectReader VALUES =
      Json.MAPPER.readerFor(JsonNode.class).without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private final Path file;
  private final byte[] bytes;
  private final Map<String, Integer> modelIds = new HashMap<>();
  private final Map<Section, JsonNode> sections = new LinkedHashMap<>();
  private final Map<String, JsonNode> modelSettings = new LinkedHashMap<>();
  private final Map<String, Integer> addedIds = new LinkedHashMap<>();

  /** In the order of the file; none overlaps another. */
  private final List<Edit> edits = new ArrayList<>();

  private int vocabSize;
  private int afterBrace;

  /** -1 if the file has none. */
  private int postProcessorBegin = -1;

  private int postProcessorEnd = -1;

  /** Bytes {@code begin} to {@code end} of the file to be replaced. */
  private record Edit(int begin, int end, String text) {}

  private TokenizerJson(Path file, byte[] bytes) {
    this.file = file;
    this.bytes = bytes;
  }

  static TokenizerJson read(Path file) {
    try {
      long size = Files.size(file);
      if (size > MAX_FILE_BYTES) {
        throw new FormatException(
            file, "is " + size + " bytes, expected at most " + MAX_FILE_BYTES + " bytes");
      }
      return parse(file, Files.readAllBytes(file));
    } catch (NoSuchFileException e) {
      throw new FormatException(
          file,
          "does not exist, expected a \"fast\" tokenizer; transformers'"
              + " AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one",
          e);
    } catch (IOException e) {
      throw new FormatException(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  static TokenizerJson parse(Path file, byte[] bytes) {
    try {
      StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
    } catch (CharacterCodingException e) {
      throw new FormatException(file, "is not valid UTF-8", e);
    }
    TokenizerJson json = new TokenizerJson(file, bytes);
    try (JsonParser parser = Json.MAPPER.createParser(bytes)) {
      json.parse(parser);
    } catch (JsonProcessingException e) {
      throw Json.malformed(file, e);
    } catch (IOException e) {
      throw new FormatException(file, "is not valid JSON: " + e.getMessage(), e);
    }
    json.check();
    return json;
  }

  Path file() {
    return file;
  }

  /** The id of a token as it is written; null if there is none. */
  @Nullable Integer id(String token) {
    Integer added = addedIds.get(token);
    return added == null ? modelIds.get(token) : added;
  }

  /** One more than the largest id. */
  int vocabSize() {
    return vocabSize;
  }

  /** The file's text for the native tokenizer: without truncation and padding. */
  String text() {
    return edited(edits);
  }

  /** The same with {@code postProcessor}, a JSON text, in place of the file's own. */
  String textWithPostProcessor(String postProcessor) {
    List<Edit> all = new ArrayList<>(edits);
    if (postProcessorBegin < 0) {
      all.add(new Edit(afterBrace, afterBrace, "\"post_processor\":" + postProcessor + ","));
    } else {
      all.add(new Edit(postProcessorBegin, postProcessorEnd, postProcessor));
    }
    all.sort(Comparator.comparingInt(Edit::begin));
    return edited(all);
  }

  private String edited(List<Edit> inOrder) {
    ByteArrayOutputStream out = new ByteArrayOutputStream(bytes.length);
    int kept = 0;
    for (Edit edit : inOrder) {
      out.write(bytes, kept, edit.begin - kept);
      out.writeBytes(edit.text.getBytes(StandardCharsets.UTF_8));
      kept = edit.end;
    }
    out.write(bytes, kept, bytes.length - kept);
    return out.toString(StandardCharsets.UTF_8);
  }

  private void parse(JsonParser parser) throws IOException {
    require(parser, parser.nextToken() == JsonToken.START_OBJECT, "a JSON object");
    afterBrace = begin(parser) + 1;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      switch (key) {
        case "model" -> parseModel(parser);
        case "added_tokens" -> parseAddedTokens(parser);
        case "truncation", "padding" -> {
          // Some models carry those of the last program that saved them.
          parser.nextToken();
          int begin = begin(parser);
          parser.skipChildren();
          edits.add(new Edit(begin, end(parser), "null"));
        }
        default -> {
          parser.nextToken();
          int begin = begin(parser);
          Section section = Section.of(key);
          if (section == null) {
            parser.skipChildren();
          } else {
            sections.put(section, VALUES.readTree(parser));
          }
          if (section == Section.POST_PROCESSOR) {
            postProcessorBegin = begin;
            postProcessorEnd = end(parser);
          }
        }
      }
    }
    require(parser, parser.nextToken() == null, "nothing behind the JSON object");
  }

  private static int begin(JsonParser parser) {
    return Math.toIntExact(parser.currentTokenLocation().getByteOffset());
  }

  /** Behind the value whose last token is the current one. */
  private static int end(JsonParser parser) throws IOException {
    parser.finishToken();
    return Math.toIntExact(parser.currentLocation().getByteOffset());
  }

  private void check() {
    if (vocabSize == 0) {
      throw new FormatException(file, "has no tokens, expected model.vocab or added_tokens");
    }
    TokenizerComponents components = new TokenizerComponents(file, vocabSize);
    modelSettings.forEach(components::checkModel);
    sections.forEach(components::check);
    checkAddedTokens();
  }

  /**
   * The native tokenizer numbers the added tokens itself, whatever ids the file gives them
   * (tokenizers 0.21, {@code AddedVocabulary::add_tokens}); both must agree.
   */
  private void checkAddedTokens() {
    int modelSize = modelIds.size();
    int largest = -1;
    for (Map.Entry<String, Integer> token : addedIds.entrySet()) {
      int id = token.getValue();
      int next = largest >= modelSize || modelSize == 0 ? largest + 1 : modelSize;
      int expected = modelIds.getOrDefault(token.getKey(), next);
      if (id != expected) {
        throw new FormatException(
            file,
            "added token "
                + JsonFields.shown(TextNode.valueOf(token.getKey()))
                + " has the id "
                + id
                + ", expected "
                + expected
                + (expected == next ? ", the next one that is free" : ", as in model.vocab"));
      }
      largest = Math.max(largest, id);
    }
  }

  private void parseModel(JsonParser parser) throws IOException {
    require(parser, parser.nextToken() == JsonToken.START_OBJECT, "an object as model");
    int behindBrace = begin(parser) + 1;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      JsonToken token = parser.nextToken();
      switch (key) {
        case "vocab" -> {
          require(parser, token == JsonToken.START_OBJECT, "an object as model.vocab");
          while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String content = parser.currentName();
            parser.nextToken();
            modelIds.put(content, id(parser));
          }
        }
        case "merges" -> parser.skipChildren();
        default -> modelSettings.put(key, VALUES.readTree(parser));
      }
    }
    if (!modelSettings.containsKey("type")) {
      // So have files of 2020. Without it, the native tokenizer tries every type that it knows.
      edits.add(new Edit(behindBrace, behindBrace, "\"type\":\"BPE\","));
    }
  }

  private void parseAddedTokens(JsonParser parser) throws IOException {
    if (parser.nextToken() == JsonToken.VALUE_NULL) {
      return;
    }
    require(parser, parser.currentToken() == JsonToken.START_ARRAY, "an array as added_tokens");
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      require(parser, parser.currentToken() == JsonToken.START_OBJECT, "an object as added token");
      String content = null;
      int id = -1;
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        JsonToken token = parser.nextToken();
        if (name.equals("id")) {
          id = id(parser);
        } else if (name.equals("content")) {
          require(parser, token == JsonToken.VALUE_STRING, "a string as content");
          content = parser.getText();
        } else {
          parser.skipChildren();
        }
      }
      if (id < 0 || content == null || content.isEmpty()) {
        throw expected(parser, "an added token with id and content");
      }
      addedIds.put(content, id);
    }
  }

  private int id(JsonParser parser) throws IOException {
    boolean valid = parser.currentToken() == JsonToken.VALUE_NUMBER_INT;
    long id =
        valid && parser.getNumberType() == JsonParser.NumberType.INT ? parser.getIntValue() : -1;
    require(
        parser,
        0 <= id && id < ModelConfig.MAX_SIZE,
        "an id from 0 to " + (ModelConfig.MAX_SIZE - 1));
    vocabSize = Math.max(vocabSize, (int) id + 1);
    return (int) id;
  }

  private void require(JsonParser parser, boolean condition, String expected) {
    if (!condition) {
      throw expected(parser, expected);
    }
  }

  private FormatException expected(JsonParser parser, String expected) {
    JsonLocation place = parser.currentTokenLocation();
    return new FormatException(
        file,
        "line " + place.getLineNr() + ", column " + place.getColumnNr() + ": expected " + expected);
  }
}
