package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A model directory with a mutated index, or a mutated config.json, is opened or refused with one
 * line that names a file in it; a configuration that is read can be written, and is then the same.
 */
final class ModelIndexFuzzTest {
  private static final int ROUNDS = 6_000;

  /** One index in this many is put beside the shards, the others are read alone. */
  private static final int ON_DISK = 20;

  /** The seed of a failure is in its message. */
  private static final long SEED = Long.getLong("gatun.seed", 20_261_121);

  private static final StoredTensor A = StoredTensor.ofFloats("a", new long[] {2}, 1, 2);
  private static final StoredTensor B = StoredTensor.ofFloats("b", new long[] {1}, 3);

  private final JsonMutator mutator = new JsonMutator(new Random(SEED));

  @TempDir Path folder;

  @Test
  void mutatedIndexesAreReadOrRefused() {
    Path file = shards().resolve(WeightIndex.FILE_NAME);
    fuzz(
        Json.readObject(file, 1 << 20),
        (round, bytes) -> {
          WeightIndex index = WeightIndex.parse(file, bytes);
          for (String shard : index.files()) {
            assertEquals(folder.resolve(shard), folder.resolve(shard).normalize());
            assertEquals(folder, folder.resolve(shard).getParent());
          }
          if (round % ON_DISK == 0) {
            write(file, bytes);
            try (ModelDirectory model = ModelDirectory.open(folder)) {
              assertArrayEquals(A.toFloats(), model.tensor("a").toFloats());
            }
          }
        });
  }

  @Test
  void mutatedConfigurationsAreReadOrRefused() {
    Path file = folder.resolve(ModelDirectory.CONFIG);
    ObjectNode config = ModelDirectory.readConfig(Goldens.MODELS.resolve("tiny-llama-rope3"));
    config.set("rope_scaling", config.get("rope_parameters"));
    fuzz(
        config,
        (_, bytes) -> {
          ObjectNode both = ConfigJson.underBothNames(Json.parseObject(file, bytes), List.of(A, B));
          assertEquals(both, Json.parseObject(file, ConfigJson.text(both)));
        });
  }

  private void fuzz(JsonNode original, BiConsumer<Integer, byte[]> open) {
    int opened = 0;
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] bytes = mutator.mutate(original);
      try {
        open.accept(round, bytes);
        opened++;
      } catch (FormatException e) {
        assertTrue(e.getMessage().startsWith(folder.toString()), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
        assertTrue(e.getMessage().length() < 1000, e.getMessage());
        refused++;
      } catch (RuntimeException | Error e) {
        fail(
            "round %d of seed %d (-Dgatun.seed): %s"
                .formatted(round, SEED, new String(bytes, StandardCharsets.UTF_8)),
            e);
      }
    }
    System.out.printf("model fuzz: seed %d, %d opened, %d refused%n", SEED, opened, refused);
    assertTrue(opened > ROUNDS / 100, "only " + opened + " opened");
    assertTrue(refused > ROUNDS / 10, "only " + refused + " refused");
  }

  private Path shards() {
    ObjectNode config = ModelDirectory.readConfig(Goldens.MODELS.resolve("tiny-llama"));
    ModelDirectory.save(folder, config, List.of(A, B), Map.of(), 8);
    return folder;
  }

  private static void write(Path file, byte[] bytes) {
    try {
      Files.write(file, bytes);
    } catch (IOException e) {
      fail(e);
    }
  }
}
