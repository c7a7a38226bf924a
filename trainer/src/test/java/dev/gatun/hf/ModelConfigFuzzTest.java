package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A mutated config.json is read, or refused with one line that names the file. Nothing else. */
class ModelConfigFuzzTest {
  private static final Path FILE = Path.of("config.json");
  private static final int ROUNDS = 3_000;

  /** Keys that the golden models do not have, for the mutator to play with. */
  private static final String MORE =
      """
      {"rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 32, "mscale": 1.0,
       "original_max_position_embeddings": 64}, "torch_dtype": "float16", "pretraining_tp": 1,
       "num_local_experts": 0, "quantization_config": null, "partial_rotary_factor": 1.0}
      """;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama",
        "tiny-llama-rope3",
        "tiny-mistral",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-gemma2",
        "tiny-gpt2"
      })
  void mutatedConfigurationsAreReadOrRefused(String model) throws IOException {
    Path golden = Path.of("src/test/resources/goldens/models", model, "config.json");
    ObjectNode plain = Json.readObject(golden, 1 << 20);
    ObjectNode more = plain.deepCopy();
    more.remove(List.of("rope_parameters", "dtype"));
    more.setAll((ObjectNode) Json.MAPPER.readTree(MORE));
    long seed = model.hashCode();
    JsonMutator mutator = new JsonMutator(new Random(seed));
    int read = 0;
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      JsonNode original = round % 2 == 0 ? plain : more;
      byte[] bytes = mutator.mutate(original);
      try {
        ModelConfig.parse(Json.parseObject(FILE, bytes), FILE);
        read++;
      } catch (FormatException e) {
        assertEquals(FILE, e.file());
        assertTrue(e.getMessage().startsWith("config.json: "), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
        refused++;
      } catch (RuntimeException | StackOverflowError e) {
        fail(
            "seed " + seed + ", round " + round + ": " + new String(bytes, StandardCharsets.UTF_8),
            e);
      }
    }
    // Both outcomes occur often, or the mutator mutates nothing, or everything to pieces.
    assertTrue(read > ROUNDS / 20, read + " read");
    assertTrue(refused > ROUNDS / 5, refused + " refused");
  }
}
