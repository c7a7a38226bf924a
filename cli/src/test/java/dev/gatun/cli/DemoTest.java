package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.report.ConsoleProgress;
import dev.gatun.train.ConfigException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The demo shrunken, and its parts. */
class DemoTest {
  @TempDir Path folder;

  /** One row of the table that {@code demo measure} prints. */
  private record Row(double positive, double score, double kl) {
    static Row of(String model, String printed) {
      String estimate = " +(-?[0-9.]+) ± [0-9.]+";
      Matcher row =
          Pattern.compile("(?m)^" + Pattern.quote(model) + estimate.repeat(3) + "$")
              .matcher(printed);
      assertTrue(row.find(), printed);
      return new Row(
          Double.parseDouble(row.group(1)),
          Double.parseDouble(row.group(2)),
          Double.parseDouble(row.group(3)));
    }
  }

  private static String run(DemoPlan plan) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8)) {
      ExitCode exit = DemoCommand.run(plan, new Console(out, ConsoleProgress.Style.LINES));
      assertEquals(ExitCode.OK, exit, bytes.toString(StandardCharsets.UTF_8));
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Test
  void thePreferenceIsLearnedAndBetaHoldsItBack() throws Exception {
    DemoPlan plan =
        new DemoPlan(
            folder,
            7,
            List.of("--device", "cpu", "--threads", "1"),
            new DemoPlan.Size(1000, 250, 200, 64, 150, 4));
    String printed = run(plan);
    Row sft = Row.of("sft", printed);
    Row far = Row.of("dpo-beta-" + DemoPlan.BETAS.getFirst(), printed);
    Row near = Row.of("dpo-beta-" + DemoPlan.BETAS.getLast(), printed);
    // 200 samples: two standard errors of a share are at most 7 points.
    assertTrue(sft.positive() > 20 && sft.positive() < 70, printed);
    assertTrue(far.positive() > sft.positive() + 15, printed);
    assertTrue(near.positive() > sft.positive() + 7, printed);
    assertEquals(0, sft.kl(), printed);
    assertTrue(far.kl() > near.kl() && near.kl() > 0, printed);
    for (List<String> command : plan.commands()) {
      assertTrue(printed.contains("\n$ ./gatun " + String.join(" ", command) + "\n"), printed);
    }
    assertThrows(ConfigException.class, () -> run(plan));
  }

  @Test
  void scoresWeighStrongWordsTwice() {
    assertEquals(1, Sentiment.score(" The plot is good."));
    assertEquals(-1, Sentiment.score(" I hated the plot. The cast is dull."));
    assertEquals(1.0 / 3, Sentiment.score(" The plot is superb and the cast is dull."), 1e-15);
    assertEquals(0, Sentiment.score(" The plot is long and goodness is not counted."));
    assertEquals(0, Sentiment.score(""));
  }

  @Test
  void reviewsAreMixed() {
    ReviewGrammar grammar = new ReviewGrammar(1);
    List<Double> scores =
        IntStream.range(0, 4000).mapToObj(_ -> Sentiment.score(grammar.completion())).toList();
    double positive = scores.stream().filter(score -> score > 0).count() / 4000.0;
    double negative = scores.stream().filter(score -> score < 0).count() / 4000.0;
    // The grammar has a symmetry between the two; the standard error of a share is 0.008.
    assertEquals(positive, negative, 0.06);
    assertTrue(positive > 0.35, "positive " + positive);
  }

  @Test
  void noPromptIsInTwoFiles() throws IOException {
    Cli cli =
        Cli.run(
            "demo",
            "reviews",
            "--output_dir",
            folder.toString(),
            "--num_reviews",
            "200",
            "--num_prompts",
            "100",
            "--num_fresh_prompts",
            "50");
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    Set<String> prompts = new HashSet<>(Files.readAllLines(folder.resolve("prompts.txt")));
    prompts.addAll(Files.readAllLines(folder.resolve("fresh_prompts.txt")));
    TextFiles.readAnswered(folder.resolve("reviews.jsonl"))
        .forEach(review -> prompts.add(review.prompt()));
    assertEquals(350, prompts.size());
  }

  @Test
  void pairsAreTheBestAndTheWorstSample() throws IOException {
    Path samples =
        Files.writeString(
            folder.resolve("samples.jsonl"),
            """
            {"prompt": "a", "completion": " The plot is dull."}
            {"prompt": "a", "completion": " The plot is long."}
            {"prompt": "a", "completion": " The plot is good."}
            {"prompt": "b", "completion": " The cast is warm."}
            {"prompt": "b", "completion": " The cast is good."}
            """);
    Path pairs = folder.resolve("pairs.jsonl");
    Cli cli =
        Cli.run(
            "demo",
            "label",
            "--samples_file",
            samples.toString(),
            "--output_file",
            pairs.toString());
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertEquals(
        List.of(
            "{\"prompt\":\"a\",\"chosen\":\" The plot is good.\",\"rejected\":\" The plot is"
                + " dull.\"}"),
        Files.readAllLines(pairs));
    assertTrue(cli.out().startsWith("1 pairs; 1 prompts left out"), cli.out());
  }

  @Test
  void unknownStepsAreNamed() {
    Cli cli = Cli.run("demo", "mesure");
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().contains("there is no mesure"), cli.error());
    assertTrue(cli.error().contains("measure"), cli.error());
  }
}
