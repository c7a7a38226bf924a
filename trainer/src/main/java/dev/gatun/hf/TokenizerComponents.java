package dev.gatun.hf;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Refuses what the native tokenizer does not survive. It aborts the whole process on settings that
 * it does not check itself, such as a template whose special token is not defined. So only the
 * components that the tokenizers of language models have are let through, and of those the settings
 * that it trusts are checked here.
 */
final class TokenizerComponents {
  private static final int MAX_DEPTH = 8;

  /** A part of tokenizer.json that is one component, or several in a {@code Sequence}. */
  enum Section {
    NORMALIZER("normalizers", List.of("NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace")),
    PRE_TOKENIZER(
        "pretokenizers",
        List.of(
            "ByteLevel",
            "Split",
            "Metaspace",
            "Digits",
            "Punctuation",
            "Whitespace",
            "WhitespaceSplit")),
    POST_PROCESSOR("processors", List.of("ByteLevel", "TemplateProcessing")),
    DECODER(
        "decoders", List.of("ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"));

    /** Of the list in a {@code Sequence}. */
    private final String sequenceKey;

    /** Beside {@code Sequence}. */
    private final List<String> types;

    Section(String sequenceKey, List<String> types) {
      this.sequenceKey = sequenceKey;
      this.types = types;
    }

    /** The section under {@code key}, or null if that is none. */
    static @Nullable Section of(String key) {
      for (Section section : values()) {
        if (section.toString().equals(key)) {
          return section;
        }
      }
      return null;
    }

    /** The key in tokenizer.json. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private final Path file;
  private final int vocabSize;

  TokenizerComponents(Path file, int vocabSize) {
    this.file = file;
    this.vocabSize = vocabSize;
  }

  /** Checks the value of a section: null or a component. */
  void check(Section section, JsonNode component) {
    check(section, component, 0);
  }

  private void check(Section section, JsonNode component, int depth) {
    if (component.isNull() && depth == 0) {
      return;
    }
    String type = component.path("type").asText();
    if (type.equals("Sequence")) {
      JsonNode parts = component.path(section.sequenceKey);
      require(parts.isArray() && depth < MAX_DEPTH, section, component, "a sequence of components");
      for (JsonNode part : parts) {
        check(section, part, depth + 1);
      }
      return;
    }
    require(
        section.types.contains(type), section, component, "a type of Sequence, " + section.types);
    switch (type) {
      case "Replace", "Split" -> {
        JsonNode pattern = component.path("pattern");
        String text = pattern.path(pattern.has("Regex") ? "Regex" : "String").asText();
        require(!text.isEmpty(), section, component, "a pattern that is not empty");
      }
      case "Strip" ->
          require(
              section != Section.DECODER || component.path("stop").asInt(-1) == 0,
              section,
              component,
              "a stop of 0");
      case "TemplateProcessing" -> checkTemplate(section, component);
      default -> {}
    }
  }

  private void checkTemplate(Section section, JsonNode template) {
    JsonNode specialTokens = template.path("special_tokens");
    for (JsonNode token : specialTokens) {
      JsonNode ids = token.path("ids");
      boolean valid = ids.isArray() && !ids.isEmpty() && ids.size() == token.path("tokens").size();
      for (JsonNode id : ids) {
        valid &= id.isInt() && 0 <= id.intValue() && id.intValue() < vocabSize;
      }
      require(valid, section, token, "a special token with ids below " + vocabSize);
    }
    for (String key : List.of("single", "pair")) {
      JsonNode pieces = template.path(key);
      require(pieces.isArray(), section, template, "an array of pieces as " + key);
      for (JsonNode piece : pieces) {
        String special = piece.path("SpecialToken").path("id").asText();
        String sequence = piece.path("Sequence").path("id").asText();
        require(
            piece.size() == 1
                && (piece.has("SpecialToken")
                    ? specialTokens.has(special)
                    : sequence.equals("A") || (sequence.equals("B") && key.equals("pair"))),
            section,
            piece,
            "a special token that special_tokens defines, or sequence A or (in pair) B");
      }
    }
  }

  /** Checks a setting of the model: all but its vocabulary and merges. */
  void checkModel(String key, JsonNode value) {
    switch (key) {
      case "type" ->
          require(
              value.asText().equals("BPE"),
              "model.type",
              value,
              "BPE, the kind of tokenizer that the supported model families have");
      case "dropout" ->
          require(
              value.isNull() || (value.isNumber() && value.doubleValue() == 0),
              "model.dropout",
              value,
              "null: the same text must always give the same tokens");
      case "continuing_subword_prefix", "end_of_word_suffix" ->
          require(
              value.isNull() || (value.isTextual() && value.textValue().isEmpty()),
              "model." + key,
              value,
              "null: marks inside of words are not supported");
      default -> {}
    }
  }

  private void require(boolean condition, Object place, JsonNode value, String expected) {
    if (!condition) {
      throw new FormatException(
          file, place + " is " + JsonFields.shown(value) + ", expected " + expected);
    }
  }
}
