package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.bench.OpPass;
import dev.gatun.train.BenchmarkConfig.ReferenceTime;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which ops a benchmark measures, and the work that it counts; not how long they take. */
class OpsBenchmarkTest {
  private static final int PAIRS = 2;
  private static final int TOKENS = PAIRS * (7 + 2 * 3);

  private static OpsReport run(String device, PrecisionChoice dtype, List<String> notes) {
    List<OpsReport.Op> progress = new ArrayList<>();
    OpsReport report =
        OpsBenchmark.run(
            new BenchmarkConfig(
                BenchmarkModel.Shape.of("shape", "llama:64,2,4,2,160,97"),
                new LengthRange(5, 9),
                new LengthRange(3, 3),
                PAIRS,
                dtype,
                LossType.SIGMOID,
                ReferenceTime.CACHED,
                false,
                0,
                Device.fromName(device),
                device.equals("cpu") ? DeviceOptions.ofThreads(1) : DeviceOptions.DEFAULT,
                1,
                0,
                1,
                7),
            notes::add,
            progress::add);
    assertEquals(progress, report.ops());
    return report;
  }

  @ParameterizedTest
  @CsvSource({"cpu, FLOAT32", "cpu, BFLOAT16", "cuda, BFLOAT16"})
  void everyOpIsMeasured(String device, PrecisionChoice dtype) {
    List<String> notes = new ArrayList<>();
    OpsReport report = run(device, dtype, notes);
    Map<String, OpsReport.Op> ops =
        report.ops().stream().collect(Collectors.toMap(OpsReport.Op::name, Function.identity()));
    for (OpPass pass : OpPass.values()) {
      OpsReport.Op op = ops.get(pass.toString());
      assertTrue(op.seconds().median() > 0 && op.bytes() > 0, op.toString());
      // The emulation has no cuDNN, and says so.
      if (device.equals("cuda")
          && pass.toString().startsWith("attention_")
          && !pass.toString().startsWith("attention_out")) {
        assertTrue(
            ops.containsKey(pass + "_cudnn")
                || notes.stream().anyMatch(note -> note.startsWith(pass + " with cudnn: ")),
            notes.toString());
      }
    }
    assertTrue(notes.getFirst().startsWith("backend: "), notes.toString());
    assertEquals(TOKENS, report.tokens());
  }

  @Test
  void productsHaveTheWorkOfTheirShapes() {
    OpsReport report = run("cpu", PrecisionChoice.FLOAT32, new ArrayList<>());
    Map<String, Double> flops =
        report.ops().stream().collect(Collectors.toMap(OpsReport.Op::name, OpsReport.Op::flops));
    double qkv = 2.0 * TOKENS * 64 * (64 + 2 * 32);
    double up = 2.0 * TOKENS * 64 * 2 * 160;
    // Of a pair, the last token of the prompt and all but the last of each answer predict.
    double head = 2.0 * PAIRS * (1 + 2 * 2) * 64 * 97;
    for (String pass : List.of("", "_backward_input", "_backward_weight")) {
      assertEquals(qkv, flops.get("qkv" + pass));
      assertEquals(up, flops.get("up" + pass));
      assertEquals(up / 2, flops.get("down" + pass));
      assertEquals(head, flops.get("head" + pass));
    }
    // Query i of 7 + 3 sees i keys, and query i of the other answer the prompt and i of its own.
    double attention = 4.0 * 64 * PAIRS * (55 + 3 * 7 + 6);
    assertEquals(attention, flops.get("attention_forward"));
    assertEquals(2.5 * attention, flops.get("attention_backward"), 1e-9 * attention);
  }

  @Test
  void jsonSaysWhatTheOpsSay() throws IOException {
    OpsReport report = run("cpu", PrecisionChoice.FLOAT32, new ArrayList<>());
    JsonNode json = new ObjectMapper().readTree(report.toJson());
    assertEquals(report.ops().size(), json.get("ops").size());
    JsonNode first = json.at("/ops/0");
    OpsReport.Op op = report.ops().getFirst();
    assertEquals(op.name(), first.get("name").asText());
    assertEquals(op.seconds().median(), first.at("/seconds/median").asDouble());
    assertEquals(op.bytes(), first.get("bytes").asDouble());
    assertEquals(
        report.copyBytesPerSecond(), json.get("copy_bytes_per_second").asDouble(), "of the copy");
  }
}
