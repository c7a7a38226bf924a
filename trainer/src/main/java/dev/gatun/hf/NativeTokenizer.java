package dev.gatun.hf;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.memory.ReleasedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Hugging Face's own tokenizer, in Rust. */
final class NativeTokenizer implements Tokenizer {
  private static final String TOKENIZER = "tokenizer.json";
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL_TOKENS = "special_tokens_map.json";
  private static final long MAX_CONFIG_BYTES = 64L << 20;

  private final TokenizersLibrary library;
  private final TokenizerJson json;
  private final OptionalInt bosTokenId;
  private final OptionalInt eosTokenId;
  private final OptionalInt padTokenId;

  /** Held for reading while native code runs, for writing while the handle is released. */
  private final ReadWriteLock lifetime = new ReentrantReadWriteLock();

  /** 0 once released. */
  private long handle;

  private NativeTokenizer(TokenizersLibrary library, TokenizerJson json, SpecialTokens special) {
    this.library = library;
    this.json = json;
    this.bosTokenId = special.bos == null ? OptionalInt.empty() : OptionalInt.of(special.bos.id);
    this.eosTokenId = special.eos == null ? OptionalInt.empty() : OptionalInt.of(special.eos.id);
    this.padTokenId = special.pad == null ? OptionalInt.empty() : OptionalInt.of(special.pad.id);
    String text =
        special.postProcessor == null
            ? json.text()
            : json.textWithPostProcessor(special.postProcessor);
    try {
      this.handle = library.createTokenizerFromString(text);
    } catch (RuntimeException e) {
      throw new FormatException(json.file(), "is not a tokenizer: " + oneLine(e), e);
    }
  }

  static NativeTokenizer open(Path modelDirectory) {
    TokenizerJson json = TokenizerJson.read(modelDirectory.resolve(TOKENIZER));
    return open(
        json,
        readIfThere(modelDirectory.resolve(CONFIG)),
        readIfThere(modelDirectory.resolve(SPECIAL_TOKENS)));
  }

  static NativeTokenizer of(Map<String, byte[]> files) {
    TokenizerJson json =
        TokenizerJson.parse(Path.of(TOKENIZER), Objects.requireNonNull(files.get(TOKENIZER)));
    return open(json, parseIfThere(CONFIG, files), parseIfThere(SPECIAL_TOKENS, files));
  }

  static NativeTokenizer open(
      TokenizerJson json, @Nullable JsonFields config, @Nullable JsonFields specialTokensMap) {
    SpecialTokens special = SpecialTokens.of(json, config, specialTokensMap);
    return new NativeTokenizer(TokenizerLibrary.get(), json, special);
  }

  private static @Nullable JsonFields parseIfThere(String name, Map<String, byte[]> files) {
    byte[] bytes = files.get(name);
    Path file = Path.of(name);
    return bytes == null ? null : new JsonFields(file, "", Json.parseObject(file, bytes));
  }

  private static @Nullable JsonFields readIfThere(Path file) {
    return Files.exists(file)
        ? new JsonFields(file, "", Json.readObject(file, MAX_CONFIG_BYTES))
        : null;
  }

  @Override
  public int[] encode(String text, AddSpecialTokens addSpecialTokens) {
    requireValidUnicode(text);
    long[] ids;
    lifetime.readLock().lock();
    try {
      long encoding = library.encode(handle(), text, addSpecialTokens == AddSpecialTokens.YES);
      try {
        ids = library.getTokenIds(encoding);
      } finally {
        library.deleteEncoding(encoding);
      }
    } catch (ReleasedException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new FormatException(json.file(), "cannot encode a text: " + oneLine(e), e);
    } finally {
      lifetime.readLock().unlock();
    }
    int[] tokens = new int[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= json.vocabSize()) {
        throw new FormatException(
            json.file(),
            "gave the id " + ids[i] + ", expected an id from 0 to " + (json.vocabSize() - 1));
      }
      tokens[i] = (int) ids[i];
    }
    return tokens;
  }

  @Override
  public List<int[]> encodeAll(
      List<String> texts, AddSpecialTokens addSpecialTokens, int numThreads) {
    int[][] encoded = new int[texts.size()][];
    RuntimeException[] failures = new RuntimeException[texts.size()];
    AtomicInteger next = new AtomicInteger();
    Runnable worker =
        () -> {
          for (int i; (i = next.getAndIncrement()) < encoded.length; ) {
            try {
              encoded[i] = encode(texts.get(i), addSpecialTokens);
            } catch (RuntimeException e) {
              failures[i] = e;
              next.set(encoded.length); // texts before this one are already taken
            }
          }
        };
    List<Thread> threads =
        IntStream.range(0, Math.min(numThreads, encoded.length))
            .mapToObj(i -> Thread.ofPlatform().name("tokenizer-" + i).start(worker))
            .toList();
    for (Thread thread : threads) {
      joinUninterruptibly(thread);
    }
    for (RuntimeException failure : failures) {
      if (failure != null) {
        throw failure;
      }
    }
    return Arrays.asList(encoded);
  }

  @Override
  public String decode(int[] ids, SkipSpecialTokens skipSpecialTokens) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= json.vocabSize()) {
        throw new IllegalArgumentException(
            "decode: id "
                + ids[i]
                + " at index "
                + i
                + ", expected an id from 0 to "
                + (json.vocabSize() - 1));
      }
      wide[i] = ids[i];
    }
    lifetime.readLock().lock();
    try {
      return library.decode(handle(), wide, skipSpecialTokens == SkipSpecialTokens.YES);
    } finally {
      lifetime.readLock().unlock();
    }
  }

  @Override
  public int vocabSize() {
    return json.vocabSize();
  }

  @Override
  public OptionalInt idOf(String token) {
    Integer id = json.id(token);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public OptionalInt bosTokenId() {
    return bosTokenId;
  }

  @Override
  public OptionalInt eosTokenId() {
    return eosTokenId;
  }

  @Override
  public OptionalInt padTokenId() {
    return padTokenId;
  }

  @Override
  public void close() {
    lifetime.writeLock().lock();
    try {
      if (handle != 0) {
        library.deleteTokenizer(handle);
        handle = 0;
      }
    } finally {
      lifetime.writeLock().unlock();
    }
  }

  private long handle() {
    if (handle == 0) {
      throw new ReleasedException("tokenizer of " + json.file());
    }
    return handle;
  }

  static void requireValidUnicode(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isSurrogate(c)) {
        boolean pair =
            Character.isHighSurrogate(c)
                && i + 1 < text.length()
                && Character.isLowSurrogate(text.charAt(i + 1));
        if (!pair) {
          throw new UnencodableTextException(text, i);
        }
        i++;
      }
    }
  }

  private static void joinUninterruptibly(Thread thread) {
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException _) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static String oneLine(RuntimeException e) {
    return String.valueOf(e.getMessage()).replaceAll("\\s*\\R\\s*", " ");
  }

  private record Token(String content, int id) {}

  /**
   * The tokens that tokenizer_config.json, or else special_tokens_map.json, names; and the post
   * processor that transformers puts in place of tokenizer.json's when the configuration says
   * {@code add_bos_token} or {@code add_eos_token} ({@code
   * TokenizersBackend.update_post_processor}).
   */
  private record SpecialTokens(
      @Nullable Token bos,
      @Nullable Token eos,
      @Nullable Token pad,
      @Nullable String postProcessor) {

    static SpecialTokens of(
        TokenizerJson json, @Nullable JsonFields config, @Nullable JsonFields map) {
      Token bos = token("bos_token", json, config, map);
      Token eos = token("eos_token", json, config, map);
      Token pad = token("pad_token", json, config, map);
      String postProcessor = null;
      if (config != null && (config.has("add_bos_token") || config.has("add_eos_token"))) {
        boolean addBos = config.booleanOr("add_bos_token", false);
        boolean addEos = config.booleanOr("add_eos_token", false);
        postProcessor = template(addBos ? bos : null, addEos ? eos : null);
      }
      return new SpecialTokens(bos, eos, pad, postProcessor);
    }

    private static @Nullable Token token(
        String key, TokenizerJson json, @Nullable JsonFields config, @Nullable JsonFields map) {
      JsonFields fields = config != null && config.has(key) ? config : map;
      JsonNode node = fields == null ? null : fields.get(key);
      if (fields == null || node == null) {
        return null;
      }
      // {"__type": "AddedToken", "content": "<s>", ...} or just the text
      String content = node.isTextual() ? node.textValue() : node.path("content").textValue();
      if (content == null) {
        throw fields.wrong(key, node, "a string or an object with content");
      }
      Integer id = json.id(content);
      if (id == null) {
        throw fields.wrong(key, node, "a token of " + json.file().getFileName());
      }
      return new Token(content, id);
    }

    private static String template(@Nullable Token bos, @Nullable Token eos) {
      ObjectNode template = Json.MAPPER.createObjectNode().put("type", "TemplateProcessing");
      ObjectNode special = Json.MAPPER.createObjectNode();
      for (String sequence : List.of("single", "pair")) {
        ArrayNode pieces = template.putArray(sequence);
        for (String name : sequence.equals("single") ? List.of("A") : List.of("A", "B")) {
          int typeId = name.equals("A") ? 0 : 1;
          addSpecial(pieces, special, bos, typeId);
          pieces.addObject().putObject("Sequence").put("id", name).put("type_id", typeId);
          addSpecial(pieces, special, eos, typeId);
        }
      }
      return template.set("special_tokens", special).toString();
    }

    private static void addSpecial(
        ArrayNode pieces, ObjectNode special, @Nullable Token token, int typeId) {
      if (token == null) {
        return;
      }
      String content = token.content();
      pieces.addObject().putObject("SpecialToken").put("id", content).put("type_id", typeId);
      ObjectNode entry = special.putObject(content).put("id", content);
      entry.putArray("ids").add(token.id());
      entry.putArray("tokens").add(content);
    }
  }
}
