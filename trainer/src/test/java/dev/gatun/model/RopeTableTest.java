package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.hf.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Against transformers 5.18; {@code tools/rope_golden.py} wrote the golden values. */
class RopeTableTest {
  /** Half an f32 unit in the last place, relative. */
  private static final double ROUNDING = 0x1p-24;

  static Stream<Map.Entry<String, JsonNode>> settings() throws IOException {
    try (InputStream in = RopeTableTest.class.getResourceAsStream("/rope/golden.json")) {
      return new ObjectMapper().readTree(in).properties().stream();
    }
  }

  /**
   * torch's powf is within 1 ulp of the correctly rounded one (SLEEF, u10). The blends of llama3
   * and yarn then round six times more, and carry that ulp along: 8 ulp bound both.
   */
  @ParameterizedTest
  @MethodSource("settings")
  void frequenciesAreThoseOfTransformers(Map.Entry<String, JsonNode> setting) {
    ModelConfig config = config(setting);
    JsonNode expected = setting.getValue().get("inverse_frequencies");
    assertNotNull(config.rope());
    float[] frequencies = RopeTable.inverseFrequencies(config.rope(), config.headDim());
    assertEquals(expected.size(), frequencies.length);
    for (int i = 0; i < frequencies.length; i++) {
      double value = expected.get(i).doubleValue();
      assertEquals(value, frequencies[i], 16 * ROUNDING * value, "pair " + i);
    }
  }

  /**
   * An angle inherits the relative error of its frequency (16 roundings, see above) and one
   * rounding; a cosine moves by at most as much as its angle, and is rounded, scaled, rounded.
   */
  @ParameterizedTest
  @MethodSource("settings")
  void cosinesAndSinesAreThoseOfTransformers(Map.Entry<String, JsonNode> setting) {
    ModelConfig config = config(setting);
    JsonNode golden = setting.getValue();
    double factor = golden.get("attention_factor").doubleValue();
    RopeTable table = RopeTable.of(config, 2048);
    assertEquals(2048, table.positions());
    assertEquals(config.headDim() / 2, table.pairs());
    for (int row = 0; row < golden.get("positions").size(); row++) {
      int position = golden.get("positions").get(row).intValue();
      for (int pair = 0; pair < table.pairs(); pair++) {
        double angle = position * golden.get("inverse_frequencies").get(pair).doubleValue();
        double tolerance = factor * ROUNDING * (18 * angle + 4);
        int index = position * table.pairs() + pair;
        String where = "position " + position + ", pair " + pair;
        assertEquals(
            golden.get("cos").get(row).get(pair).doubleValue(),
            table.cos()[index],
            tolerance,
            where);
        assertEquals(
            golden.get("sin").get(row).get(pair).doubleValue(),
            table.sin()[index],
            tolerance,
            where);
      }
    }
  }

  @Test
  void dynamicScalingEndsAtTheModelsPositions() throws IOException {
    ModelConfig dynamic = config(setting("dynamic"));
    assertEquals(2048, RopeTable.of(dynamic, 2048).positions());
    String message =
        assertThrows(IllegalArgumentException.class, () -> RopeTable.of(dynamic, 2049))
            .getMessage();
    assertTrue(message.startsWith("dynamic RoPE for 2049 positions"), message);
    assertEquals(2049, RopeTable.of(config(setting("default")), 2049).positions());
  }

  private static Map.Entry<String, JsonNode> setting(String name) throws IOException {
    return settings().filter(s -> s.getKey().equals(name)).findFirst().orElseThrow();
  }

  private static ModelConfig config(Map.Entry<String, JsonNode> setting) {
    return ModelConfig.parse(setting.getValue().get("config"), Path.of(setting.getKey()));
  }
}
