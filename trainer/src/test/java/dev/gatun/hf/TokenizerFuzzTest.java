package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A mutated tokenizer.json or tokenizer_config.json gives a tokenizer, or is refused with one line
 * that names the file. The native parser must survive all of it: a crash ends the test's JVM.
 */
class TokenizerFuzzTest {
  private static final Path FILE = Path.of("tokenizer.json");
  private static final Path CONFIG = Path.of("tokenizer_config.json");
  private static final int ROUNDS = 2_000;

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-mistral", "tiny-qwen2", "tiny-gemma2", "tiny-gpt2"})
  void mutatedTokenizersWorkOrAreRefused(String model) {
    Path folder = Path.of("src/test/resources/goldens/models", model);
    ObjectNode json = Json.readObject(folder.resolve("tokenizer.json"), 1 << 20);
    ObjectNode config = Json.readObject(folder.resolve("tokenizer_config.json"), 1 << 20);
    config.put("add_bos_token", true).put("add_eos_token", false);
    long seed = model.hashCode();
    JsonMutator mutator = new JsonMutator(new Random(seed));
    int opened = 0;
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] jsonBytes =
          round % 4 == 0 ? json.toString().getBytes(StandardCharsets.UTF_8) : mutator.mutate(json);
      byte[] configBytes = mutator.mutate(config);
      try (Tokenizer tokenizer =
          NativeTokenizer.open(
              TokenizerJson.parse(FILE, jsonBytes),
              round % 4 == 0
                  ? new JsonFields(CONFIG, "", Json.parseObject(CONFIG, configBytes))
                  : null,
              null)) {
        opened++;
        int[] ids =
            tokenizer.encode("It's 12 caf\u00e9s \ud83d\ude00<|pad|>\n", AddSpecialTokens.YES);
        tokenizer.decode(ids, SkipSpecialTokens.NO);
      } catch (FormatException e) {
        assertTrue(e.file().equals(FILE) || e.file().equals(CONFIG), e.getMessage());
        assertTrue(e.getMessage().startsWith(e.file() + ": "), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
        refused++;
      } catch (RuntimeException | StackOverflowError e) {
        fail(
            "seed "
                + seed
                + ", round "
                + round
                + ": "
                + new String(jsonBytes, StandardCharsets.UTF_8)
                + new String(configBytes, StandardCharsets.UTF_8),
            e);
      }
    }
    assertTrue(opened > ROUNDS / 20, opened + " opened");
    assertTrue(refused > ROUNDS / 5, refused + " refused");
  }
}
