package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.hf.BpeTrainer.Options;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A vocabulary that {@link BpeTrainer} learned, and the files of a model directory that hold it:
 * both {@link Tokenizer#open} and transformers load them.
 */
public final class TrainedTokenizer {
  private final Options options;
  private final Map<String, Integer> ids;
  private final List<List<String>> merges;

  TrainedTokenizer(Options options, Map<String, Integer> ids, List<List<String>> merges) {
    this.options = options;
    this.ids = ids;
    this.merges = merges;
  }

  /** Tokens in all; their ids are 0 to one less. */
  public int vocabSize() {
    return ids.size();
  }

  /** Pairs of tokens in the order in which they were merged. */
  List<List<String>> merges() {
    return merges;
  }

  /** The id of a special token, or of a token as the vocabulary spells it. */
  int id(String token) {
    return Objects.requireNonNull(ids.get(token), token);
  }

  /** Each file's name and bytes: tokenizer.json, tokenizer_config.json, special_tokens_map.json. */
  public Map<String, byte[]> files() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("tokenizer.json", bytes(tokenizerJson()));
    files.put("tokenizer_config.json", bytes(tokenizerConfig()));
    files.put("special_tokens_map.json", bytes(specialTokensMap()));
    return files;
  }

  /** Writes the {@link #files} into an existing folder. */
  public void write(Path folder) throws IOException {
    for (Map.Entry<String, byte[]> file : files().entrySet()) {
      Files.write(folder.resolve(file.getKey()), file.getValue());
    }
  }

  private ObjectNode tokenizerJson() {
    ObjectNode json = Json.MAPPER.createObjectNode().put("version", "1.0");
    json.putNull("truncation").putNull("padding");
    ArrayNode added = json.putArray("added_tokens");
    for (String token : options.specialTokens()) {
      added
          .addObject()
          .put("id", id(token))
          .put("content", token)
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", true);
    }
    if (options.splitting() == WordSplitting.QWEN2) {
      json.putObject("normalizer").put("type", "NFC");
    } else {
      json.putNull("normalizer");
    }
    ObjectNode preTokenizer = json.putObject("pre_tokenizer").put("type", "Sequence");
    ArrayNode preTokenizers = preTokenizer.putArray("pretokenizers");
    ObjectNode split = preTokenizers.addObject().put("type", "Split");
    split.putObject("pattern").put("Regex", options.splitting().regex());
    split.put("behavior", "Isolated").put("invert", false);
    preTokenizers.add(byteLevel());
    String bos = options.bosToken();
    json.set("post_processor", bos == null ? byteLevel() : beginWith(bos));
    json.set("decoder", byteLevel());
    ObjectNode model = json.putObject("model").put("type", "BPE");
    model.putNull("dropout").putNull("unk_token");
    model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
    model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
    ObjectNode vocab = model.putObject("vocab");
    ids.forEach(vocab::put);
    ArrayNode pairs = model.putArray("merges");
    merges.forEach(merge -> pairs.addArray().add(merge.get(0)).add(merge.get(1)));
    return json;
  }

  private static ObjectNode byteLevel() {
    return Json.MAPPER
        .createObjectNode()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", false);
  }

  private ObjectNode beginWith(String bos) {
    ObjectNode template = Json.MAPPER.createObjectNode().put("type", "TemplateProcessing");
    for (String sequence : List.of("single", "pair")) {
      ArrayNode pieces = template.putArray(sequence);
      pieces.addObject().putObject("SpecialToken").put("id", bos).put("type_id", 0);
      pieces.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
      if (sequence.equals("pair")) {
        pieces.addObject().putObject("SpecialToken").put("id", bos).put("type_id", 1);
        pieces.addObject().putObject("Sequence").put("id", "B").put("type_id", 1);
      }
    }
    ObjectNode entry = template.putObject("special_tokens").putObject(bos).put("id", bos);
    entry.putArray("ids").add(id(bos));
    entry.putArray("tokens").add(bos);
    return template;
  }

  private ObjectNode tokenizerConfig() {
    ObjectNode config = specialTokensMap();
    config.put("clean_up_tokenization_spaces", false);
    config.put("model_max_length", options.maxLength());
    config.put("tokenizer_class", "PreTrainedTokenizerFast");
    return config;
  }

  private ObjectNode specialTokensMap() {
    ObjectNode map = Json.MAPPER.createObjectNode();
    putIfPresent(map, "bos_token", options.bosToken());
    putIfPresent(map, "eos_token", options.eosToken());
    putIfPresent(map, "pad_token", options.padToken());
    return map;
  }

  private static void putIfPresent(ObjectNode map, String key, @Nullable String token) {
    if (token != null) {
      map.put(key, token);
    }
  }

  private static byte[] bytes(ObjectNode json) {
    try {
      String text = Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(json);
      return (text + "\n").getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree of strings and numbers is JSON", e);
    }
  }
}
