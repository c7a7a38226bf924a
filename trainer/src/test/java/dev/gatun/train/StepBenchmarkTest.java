package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.train.BenchmarkConfig.ReferenceTime;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the figures of a benchmark say of each other; how large they are is not tested. */
class StepBenchmarkTest {
  private static final BenchmarkModel TINY =
      BenchmarkModel.Shape.of("shape", "llama:64,2,4,2,160,97");
  private static final int PAIRS = 3;
  private static final int STEPS = 2;
  private static final int ROUNDS = 3;

  private static BenchmarkConfig config(
      BenchmarkModel model, String device, ReferenceTime reference, PrecisionChoice dtype) {
    return new BenchmarkConfig(
        model,
        new LengthRange(5, 9),
        new LengthRange(3, 3),
        PAIRS,
        dtype,
        LossType.SIGMOID,
        reference,
        false,
        0,
        Device.fromName(device),
        device.equals("cpu") ? DeviceOptions.ofThreads(1) : DeviceOptions.DEFAULT,
        STEPS,
        1,
        ROUNDS,
        7);
  }

  private static BenchmarkReport run(BenchmarkConfig config) {
    List<BenchmarkRound> progress = new ArrayList<>();
    List<String> notes = new ArrayList<>();
    BenchmarkReport report = StepBenchmark.run(config, notes::add, progress::add);
    assertEquals(progress, report.rounds());
    assertTrue(notes.getFirst().startsWith("backend: "), notes.toString());
    return report;
  }

  @Test
  void roundsDoTheSameWork() {
    BenchmarkReport report =
        run(config(TINY, "cpu", ReferenceTime.CACHED, PrecisionChoice.FLOAT32));
    assertEquals(ROUNDS, report.rounds().size());
    for (BenchmarkRound round : report.rounds()) {
      assertEquals(STEPS * PAIRS, round.pairs());
      // An answer has 3 tokens; TRL counts the prompt with both, here it is computed once.
      assertEquals(round.tokens() - 2L * 3 * round.pairs(), 2 * promptTokens(round));
      assertEquals(report.rounds().getFirst().tokens(), round.tokens());
      assertEquals(report.rounds().getFirst().usefulFlops(), round.usefulFlops(), 1);
    }
    // Embedding, 2 layers of q, o [64, 64], k, v [32, 64], gate, up, down [160, 64], 5 norms.
    assertEquals(
        97 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 160 * 64) + 5 * 64, report.parameters());
  }

  private static long promptTokens(BenchmarkRound round) {
    return round.tokensComputed() - 2L * 3 * round.pairs();
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "cuda"})
  void phasesLieInsideTheRound(String device) {
    BenchmarkReport report =
        run(config(TINY, device, ReferenceTime.LIVE, PrecisionChoice.BFLOAT16));
    for (BenchmarkRound round : report.rounds()) {
      for (String phase : List.of("step", "data", "reference", "forward", "head", "backward")) {
        assertTrue(round.phases().nanos().get(phase) > 0, phase + " in " + round);
      }
      // Phases lie inside the round, and on the CPU they have the round's clock.
      long phases = round.phases().totalNanos();
      assertTrue(phases > 0, round.toString());
      if (device.equals("cpu")) {
        assertTrue(1e-9 * phases <= round.seconds(), round.toString());
      }
    }
  }

  @Test
  void theReferenceIsScoredOnceOrInEveryRound() {
    BenchmarkReport cached =
        run(config(TINY, "cpu", ReferenceTime.CACHED, PrecisionChoice.FLOAT32));
    BenchmarkReport live = run(config(TINY, "cpu", ReferenceTime.LIVE, PrecisionChoice.FLOAT32));
    assertTrue(cached.referenceSeconds() > 0);
    assertTrue(Double.isNaN(live.referenceSeconds()));
    assertTrue(!cached.phases().contains("reference"), cached.phases().toString());
    for (BenchmarkRound round : live.rounds()) {
      assertTrue(round.phases().nanos().containsKey("reference"), round.toString());
    }
  }

  @Test
  void jsonSaysWhatTheRoundsSay() throws IOException {
    BenchmarkReport report =
        run(config(TINY, "cpu", ReferenceTime.CACHED, PrecisionChoice.FLOAT32));
    JsonNode json = new ObjectMapper().readTree(report.toJson());
    double median = json.at("/pairs_per_second/median").asDouble();
    assertTrue(json.at("/pairs_per_second/lowest").asDouble() <= median);
    assertTrue(json.at("/pairs_per_second/highest").asDouble() >= median);
    List<JsonNode> rounds = StreamSupport.stream(json.get("rounds").spliterator(), false).toList();
    assertEquals(ROUNDS, rounds.size());
    assertTrue(
        rounds.stream()
            .anyMatch(
                round ->
                    round.get("pairs").asDouble() / round.get("seconds").asDouble() == median));
    double mfu =
        json.get("flops_per_pair").asDouble()
            * median
            / json.get("peak_flops_per_second").asDouble();
    // The same numbers in another order: a few roundings of double.
    assertEquals(mfu, json.at("/mfu/median").asDouble(), 1e-12 * mfu);
    assertTrue(json.get("peak_bytes").asLong() > 1 << 20, json.toString());
    assertEquals("llama:64,2,4,2,160,97", json.get("model").asText());
  }

  @Test
  void aModelDirectoryIsTrainedToo() {
    Path model = Path.of("src/test/resources/goldens/models/tiny-llama");
    BenchmarkReport report =
        run(
            config(
                new BenchmarkModel.Directory(model),
                "cpu",
                ReferenceTime.CACHED,
                PrecisionChoice.FLOAT32));
    assertEquals(STEPS * PAIRS, report.rounds().getLast().pairs());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "llama",
        "llama:64,2,4,2,160",
        "lama:64,2,4,2,160,97",
        "llama:64,2,4,3,160,97",
        "llama:64,2,4,2,160,0"
      })
  void aBadShapeIsRefused(String shape) {
    assertThrows(ConfigException.class, () -> BenchmarkModel.Shape.of("shape", shape));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "0", "5:4", "5:", "1.5", "-1"})
  void aBadLengthIsRefused(String length) {
    ConfigException e =
        assertThrows(ConfigException.class, () -> LengthRange.of("prompt_tokens", length));
    assertTrue(
        String.valueOf(e.getMessage()).contains("expected a number of tokens"), e.toString());
  }

  @Test
  void sequencesMustFitTheModel() {
    BenchmarkConfig config =
        config(
            BenchmarkModel.Shape.of("shape", "gpt2:64,2,4,4,160,97"),
            "cpu",
            ReferenceTime.CACHED,
            PrecisionChoice.FLOAT32);
    BenchmarkConfig longer =
        new BenchmarkConfig(
            config.model(),
            new LengthRange(1, 1022),
            config.answerTokens(),
            config.pairsPerStep(),
            config.dtype(),
            config.loss(),
            config.reference(),
            config.gradientCheckpointing(),
            config.maxTokensPerPack(),
            config.device(),
            config.deviceOptions(),
            config.steps(),
            config.warmUpSteps(),
            config.rounds(),
            config.seed());
    ConfigException e = assertThrows(ConfigException.class, () -> run(longer));
    assertEquals(
        "prompt_tokens: with answer_tokens a sequence has up to 1025 tokens, the model takes 1024;"
            + " shorten them",
        e.getMessage());
  }
}
