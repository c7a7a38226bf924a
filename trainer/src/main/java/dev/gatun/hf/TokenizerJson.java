package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What Gatun itself reads in {@code tokenizer.json}: the tokens with their ids, and where the post
 * processor is written. The rest is for the native tokenizer.
 */
final class TokenizerJson {
  private static final long MAX_FILE_BYTES = 512L << 20;

  private final Path file;
  private final byte[] bytes;
  private final Map<String, Integer> ids = new HashMap<>();
  private int vocabSize;

  /** Byte offset of the post processor's value; -1 if the file has none. */
  private int postProcessorBegin = -1;

  private int postProcessorEnd = -1;

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
    if (json.vocabSize == 0) {
      throw new FormatException(file, "has no tokens, expected model.vocab or added_tokens");
    }
    return json;
  }

  Path file() {
    return file;
  }

  /** Every token as it is written, with its id. */
  Map<String, Integer> ids() {
    return ids;
  }

  /** One more than the largest id. */
  int vocabSize() {
    return vocabSize;
  }

  /** The file's text, with {@code postProcessor} (JSON) in place of its own unless it is null. */
  String text(@Nullable String postProcessor) {
    if (postProcessor == null) {
      return new String(bytes, StandardCharsets.UTF_8);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream(bytes.length + postProcessor.length());
    if (postProcessorBegin < 0) {
      int afterBrace = new String(bytes, StandardCharsets.ISO_8859_1).indexOf('{') + 1;
      out.write(bytes, 0, afterBrace);
      out.writeBytes(
          ("\"post_processor\":" + postProcessor + ",").getBytes(StandardCharsets.UTF_8));
      out.write(bytes, afterBrace, bytes.length - afterBrace);
    } else {
      out.write(bytes, 0, postProcessorBegin);
      out.writeBytes(postProcessor.getBytes(StandardCharsets.UTF_8));
      out.write(bytes, postProcessorEnd, bytes.length - postProcessorEnd);
    }
    return out.toString(StandardCharsets.UTF_8);
  }

  private void parse(JsonParser parser) throws IOException {
    require(parser, parser.nextToken() == JsonToken.START_OBJECT, "a JSON object");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      switch (parser.currentName()) {
        case "model" -> parseModel(parser);
        case "added_tokens" -> parseAddedTokens(parser);
        case "post_processor" -> {
          parser.nextToken();
          postProcessorBegin = Math.toIntExact(parser.currentTokenLocation().getByteOffset());
          parser.skipChildren();
          parser.finishToken();
          postProcessorEnd = Math.toIntExact(parser.currentLocation().getByteOffset());
        }
        default -> {
          parser.nextToken();
          parser.skipChildren();
        }
      }
    }
    require(parser, parser.nextToken() == null, "nothing behind the JSON object");
  }

  private void parseModel(JsonParser parser) throws IOException {
    require(parser, parser.nextToken() == JsonToken.START_OBJECT, "an object as model");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      boolean vocab = parser.currentName().equals("vocab");
      JsonToken token = parser.nextToken();
      if (!vocab) {
        parser.skipChildren();
      } else if (token == JsonToken.START_OBJECT) {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          String content = parser.currentName();
          parser.nextToken();
          add(parser, content, id(parser));
        }
      } else {
        require(parser, token == JsonToken.START_ARRAY, "an object or array as model.vocab");
        parseUnigrams(parser);
      }
    }
  }

  /** {@code [[piece, score], ...]}; the place in the array is the id. */
  private void parseUnigrams(JsonParser parser) throws IOException {
    for (int id = 0; parser.nextToken() != JsonToken.END_ARRAY; id++) {
      require(parser, parser.currentToken() == JsonToken.START_ARRAY, "[piece, score]");
      require(parser, parser.nextToken() == JsonToken.VALUE_STRING, "a string as piece");
      add(parser, parser.getText(), id);
      require(parser, parser.nextToken().isNumeric(), "a number as score");
      require(parser, parser.nextToken() == JsonToken.END_ARRAY, "[piece, score]");
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
      require(parser, id >= 0 && content != null, "an added token with id and content");
      add(parser, content, id);
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
    return (int) id;
  }

  private void add(JsonParser parser, @Nullable String content, int id) {
    Integer before = ids.putIfAbsent(content, id);
    require(parser, before == null || before == id, "one id for a token, not also " + before);
    vocabSize = Math.max(vocabSize, id + 1);
  }

  private void require(JsonParser parser, boolean condition, String expected) {
    if (!condition) {
      var location = parser.currentTokenLocation();
      throw new FormatException(
          file,
          "line "
              + location.getLineNr()
              + ", column "
              + location.getColumnNr()
              + ": expected "
              + expected);
    }
  }
}
