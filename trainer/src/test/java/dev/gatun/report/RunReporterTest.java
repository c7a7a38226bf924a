package dev.gatun.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunReporterTest {
  /** TRL 1.13's log line, key by key. */
  private static final List<String> TRL_ORDER =
      List.of(
          "loss",
          "grad_norm",
          "learning_rate",
          "entropy",
          "num_tokens",
          "logits/chosen",
          "logits/rejected",
          "mean_token_accuracy",
          "rewards/chosen",
          "rewards/rejected",
          "rewards/accuracies",
          "rewards/margins",
          "logps/chosen",
          "logps/rejected",
          "epoch");

  private static final long STEP_NANOS = 500_000_000;

  @TempDir Path folder;

  private static RunPlan plan(long steps, long interval, boolean firstStep) {
    return new RunPlan(
        RunPlan.Rows.PAIRS,
        steps,
        1,
        8,
        4,
        interval,
        firstStep,
        0,
        "bfloat16",
        1e9,
        List.of("a note"));
  }

  private static StepMetrics step(long step, int microBatches, double value) {
    return new StepMetrics(
        step,
        microBatches,
        Map.of(
            MetricName.EPOCH,
            step / 10.0,
            MetricName.LOSS,
            value,
            MetricName.GRAD_NORM,
            value,
            MetricName.NUM_TOKENS,
            100.0 * step,
            MetricName.REWARDS_MARGINS,
            value,
            MetricName.REWARDS_ACCURACIES,
            0.5),
        new StepWork(8, 100, 160, 80, 1e8, STEP_NANOS));
  }

  private static List<LogLine> lines(RunPlan plan, List<StepMetrics> steps) {
    List<LogLine> lines = new ArrayList<>();
    RunReporter reporter = RunReporter.start(plan, List.of(collect(lines)));
    steps.forEach(reporter::step);
    reporter.end(RunSummary.End.COMPLETED, List.of());
    return lines;
  }

  private static MetricsListener collect(List<LogLine> lines) {
    return new MetricsListener() {
      @Override
      public void onLog(LogLine line) {
        lines.add(line);
      }
    };
  }

  @Test
  void namesAndOrderAreTrls() {
    List<String> names = new ArrayList<>();
    for (MetricName name : MetricName.values()) {
      names.add(name.toString());
    }
    assertEquals(TRL_ORDER, names.subList(0, TRL_ORDER.size()));
  }

  @Test
  void aWindowAveragesAsTrlDoes() {
    LogLine line = lines(plan(2, 2, false), List.of(step(1, 3, 1), step(2, 1, 2))).getFirst();
    assertEquals(2, line.step());
    assertEquals(1.5, line.value(MetricName.LOSS)); // mean of steps
    assertEquals(1.25, line.value(MetricName.REWARDS_MARGINS)); // mean of micro-batches
    assertEquals(2, line.value(MetricName.GRAD_NORM)); // last
    assertEquals(200, line.value(MetricName.NUM_TOKENS));
    assertEquals(0.2, line.value(MetricName.EPOCH));
  }

  @Test
  void ratesComeFromTheWorkOfTheWindow() {
    LogLine line = lines(plan(2, 2, false), List.of(step(1, 2, 1), step(2, 2, 2))).getFirst();
    assertEquals(16, line.value(MetricName.PAIRS_PER_SECOND), 1e-9);
    assertEquals(200, line.value(MetricName.TOKENS_PER_SECOND), 1e-9);
    assertEquals(0.2, line.value(MetricName.MFU), 1e-12);
    assertEquals(0.5, line.value(MetricName.WORK_SAVED), 1e-12);
  }

  @Test
  void linesComeAtTheIntervalAndAtTheFirstStepIfAsked() {
    List<StepMetrics> steps = List.of(step(1, 1, 1), step(2, 1, 2), step(3, 1, 3), step(4, 1, 4));
    assertEquals(List.of(3L), lines(plan(4, 3, false), steps).stream().map(LogLine::step).toList());
    List<LogLine> first = lines(plan(4, 3, true), steps);
    assertEquals(List.of(1L, 3L), first.stream().map(LogLine::step).toList());
    assertEquals(2.5, first.getLast().value(MetricName.LOSS)); // steps 2 and 3 only
  }

  @Test
  void anInterruptedRunLogsWhatIsLeft() {
    List<LogLine> lines = new ArrayList<>();
    RunReporter reporter = RunReporter.start(plan(10, 5, false), List.of(collect(lines)));
    reporter.step(step(1, 1, 7));
    RunSummary summary = reporter.end(RunSummary.End.INTERRUPTED, List.of());
    assertEquals(List.of(1L), lines.stream().map(LogLine::step).toList());
    assertEquals(1, summary.steps());
    assertEquals(7, summary.meanLoss());
  }

  @Test
  void metricsFileHoldsEachLineAsSoonAsItIsLogged() throws Exception {
    Path file = folder.resolve("metrics.jsonl");
    ObjectMapper json = new ObjectMapper();
    try (MetricsJsonl metrics = MetricsJsonl.create(file)) {
      RunReporter reporter = RunReporter.start(plan(2, 1, false), List.of(metrics));
      reporter.step(step(1, 1, 1.0 / 3));
      JsonNode line = json.readTree(Files.readAllLines(file).getFirst());
      assertEquals(1, line.get("step").asLong());
      assertEquals(1.0 / 3, line.get("loss").asDouble());
      assertEquals(1.0 / 3, line.get("rewards/margins").asDouble());
      assertEquals("step", line.fieldNames().next());
      reporter.step(step(2, 1, Double.NaN));
      reporter.end(RunSummary.End.COMPLETED, List.of());
    }
    List<String> lines = Files.readAllLines(file);
    assertEquals(3, lines.size());
    assertEquals("NaN", json.readTree(lines.get(1)).get("loss").asText());
    assertEquals(16, json.readTree(lines.get(2)).get("train_samples_per_second").asDouble(), 1e-9);
    assertEquals("bfloat16", json.readTree(lines.get(2)).get("dtype").asText());
  }

  @Test
  void trainerStateIsTransformers() throws Exception {
    TrainerState state = new TrainerState();
    RunReporter reporter = RunReporter.start(plan(2, 1, false), List.of(state));
    reporter.step(step(1, 1, 1));
    reporter.step(step(2, 1, 3));
    reporter.end(RunSummary.End.COMPLETED, List.of());
    JsonNode root = new ObjectMapper().readTree(state.toJson());
    assertEquals(2, root.get("global_step").asLong());
    assertEquals(2, root.get("max_steps").asLong());
    assertEquals(3, root.get("log_history").size());
    assertEquals(3, root.get("log_history").get(1).get("loss").asDouble());
    assertEquals(2, root.get("log_history").get(1).get("step").asLong());
    assertEquals(2, root.get("log_history").get(2).get("train_loss").asDouble());
  }

  @Test
  void aTerminalGetsABarAndAFileGetsLines() {
    String bar = show(ConsoleProgress.Style.BAR);
    assertTrue(bar.contains("\r"), bar);
    assertTrue(bar.contains("50% [============            ] step 1/2"), bar);
    String lines = show(ConsoleProgress.Style.LINES);
    assertFalse(lines.contains("\r") || lines.contains("\u001b"), lines);
    assertTrue(lines.contains("a note"), lines);
    assertTrue(
        lines.contains("step 2/2  loss 3  margin 3  accuracy 0.5  200 tokens/s  0:00 left"), lines);
    assertTrue(lines.contains("done after 2 steps in 0:01, mean loss 2"), lines);
  }

  private static String show(ConsoleProgress.Style style) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      RunReporter reporter =
          RunReporter.start(plan(2, 1, false), List.of(new ConsoleProgress(out, style)));
      reporter.step(step(1, 1, 1));
      reporter.step(step(2, 1, 3));
      reporter.end(RunSummary.End.COMPLETED, List.of());
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
