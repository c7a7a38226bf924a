package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.train.Precision;
import dev.gatun.train.PrecisionChoice;
import dev.gatun.train.ResolvedPrecision;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** The commands themselves, on a model of 150,000 parameters. */
class CommandsTest {
  private static final Path GOLDENS =
      Path.of("..", "trainer", "src", "test", "resources", "goldens");
  private static final Path MODEL = GOLDENS.resolve("models").resolve("tiny-llama");
  private static final Path PAIRS = GOLDENS.resolve("data").resolve("parity.standard.jsonl");

  @TempDir Path folder;

  private List<String> dpo(Path model, Path data, String... options) {
    List<String> args =
        new ArrayList<>(List.of("dpo", "--model_name_or_path", model.toString(), "--dataset_name"));
    args.add(data.toString());
    args.addAll(List.of("--output_dir", output().toString(), "--max_steps", "2"));
    args.addAll(List.of("--per_device_train_batch_size", "2", "--logging_steps", "1"));
    args.addAll(List.of(options));
    return args;
  }

  private Path output() {
    return folder.resolve("out");
  }

  private Path rows(String lines) throws IOException {
    return Files.writeString(folder.resolve("rows.jsonl"), lines);
  }

  private void refused(ExitCode exit, String message, List<String> args) {
    Cli cli = Cli.run(args);
    assertEquals(exit, cli.exit(), cli.err());
    assertTrue(cli.error().contains(message), cli.error());
    assertFalse(Files.exists(output().resolve("config.json")), "a model was written");
    assertFalse(Files.exists(output().resolve("model.safetensors")), "weights were written");
  }

  @Test
  void dpoTrainsAndWritesModelAndMetrics() throws IOException {
    Cli cli = Cli.run(dpo(MODEL, PAIRS));
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertTrue(cli.out().contains("beta: 0.1\n"), cli.out());
    assertTrue(cli.out().contains("step 2/2  loss "), cli.out());
    assertTrue(cli.out().contains("model saved to " + output()), cli.out());
    assertTrue(Files.exists(output().resolve("model.safetensors")));
    List<String> lines = Files.readAllLines(output().resolve("metrics.jsonl"));
    assertEquals(3, lines.size());
    // Policy and reference are the same model: ln 2, to the rounding of f32.
    JsonNode first = new ObjectMapper().readTree(lines.getFirst());
    assertEquals(Math.log(2), first.get("loss").asDouble(), 1e-7);
    assertEquals(0, first.get("rewards/margins").asDouble());
  }

  private static ResolvedPrecision precisionHere() {
    try (Backend backend = CpuBackend.create(CpuOptions.DEFAULT)) {
      return PrecisionChoice.AUTO.on(backend);
    }
  }

  @Test
  void theStorageTypeFollowsTheMachineAndIsPrinted() throws IOException {
    ResolvedPrecision here = precisionHere();
    boolean bfloat16 = here.precision() == Precision.BFLOAT16;
    Cli cli = Cli.run(dpo(MODEL, PAIRS));
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertTrue(cli.out().contains("\ndtype: auto\n"), cli.out());
    String masters = bfloat16 ? ", exact float32 masters" : "";
    assertTrue(cli.out().contains("\ndtype: " + here + masters + "\n"), cli.out());
    List<String> lines = Files.readAllLines(output().resolve("metrics.jsonl"));
    JsonNode last = new ObjectMapper().readTree(lines.getLast());
    assertEquals(here.precision().toString(), last.get("dtype").asText());

    // And the model is, bit for bit, that of the option that names the type.
    Path weights = output().resolve("model.safetensors");
    byte[] followed = Files.readAllBytes(weights);
    Cli named = Cli.run(dpo(MODEL, PAIRS, "--overwrite_output_dir", "--bf16=" + bfloat16));
    assertEquals(ExitCode.OK, named.exit(), named.err());
    assertTrue(named.out().contains("\ndtype: " + here.precision() + masters + "\n"), named.out());
    assertArrayEquals(followed, Files.readAllBytes(weights));
  }

  /** A processor without bf16 products, as oneDNN's own variable makes one. */
  @Test
  void whereBf16WouldBeWidenedTheStorageTypeIsFloat32() throws Exception {
    String float32 = "float32 (auto: this CPU does not multiply bf16 in hardware)";
    String plan = "plan --shape tiny --prompt_tokens 8 --answer_tokens 4 --device cpu";
    assertTrue(withoutBf16(ExitCode.OK, List.of(plan.split(" "))).contains(", " + float32 + "\n"));
    List<String> rounded = List.of((plan + " --bf16_stochastic_round").split(" "));
    String refused =
        "bf16_stochastic_round: has no effect here: weights are "
            + float32
            + ", which are not rounded; add bf16 or remove it\n";
    assertEquals("gatun: " + refused, withoutBf16(ExitCode.USAGE, rounded));
    List<String> dpo = dpo(MODEL, PAIRS, "--device", "cpu");
    assertTrue(withoutBf16(ExitCode.OK, dpo).contains("\ndtype: " + float32 + "\n"));
  }

  private String withoutBf16(ExitCode exit, List<String> args) throws Exception {
    List<String> command = command(args);
    Path log = folder.resolve("log");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().put("ONEDNN_MAX_CPU_ISA", "AVX2");
    Process process = builder.start();
    try {
      assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running");
    } finally {
      process.destroyForcibly();
    }
    String printed = Files.readString(log);
    assertEquals(exit.code(), process.exitValue(), printed);
    return printed;
  }

  /** This program in a process of its own. */
  private static List<String> command(List<String> args) {
    List<String> command =
        new ArrayList<>(
            List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
    command.addAll(args);
    return command;
  }

  @Test
  void scoresAreMadeOnceAndTrainedWith() throws IOException {
    Path store = folder.resolve("store");
    Path file = folder.resolve("scores.jsonl");
    List<String> args =
        List.of(
            "score",
            "--model_name_or_path",
            MODEL.toString(),
            "--dataset_name",
            PAIRS.toString(),
            "--max_steps",
            "2",
            "--per_device_train_batch_size",
            "2",
            "--reference_store",
            store.toString(),
            "--output",
            file.toString(),
            "--per_token");
    Cli first = Cli.run(args);
    assertEquals(ExitCode.OK, first.exit(), first.err());
    assertTrue(first.out().contains("\n4 rows scored, 0 known before\n"), first.out());
    List<String> lines = Files.readAllLines(file);
    assertEquals(4, lines.size());
    for (String line : lines) {
      JsonNode row = new ObjectMapper().readTree(line);
      double sum = 0;
      for (JsonNode token : row.get("ref_chosen_token_logps")) {
        sum += token.floatValue();
      }
      assertEquals(row.get("chosen_tokens").asInt(), row.get("ref_chosen_token_logps").size());
      assertEquals(sum, row.get("ref_chosen_logps").asDouble(), 1e-9);
    }
    Cli second = Cli.run(args);
    assertTrue(second.out().contains("\n0 rows scored, 4 known before\n"), second.out());
    assertEquals(lines, Files.readAllLines(file));

    Cli dpo = Cli.run(dpo(MODEL, PAIRS, "--reference_store", store.toString()));
    assertEquals(ExitCode.OK, dpo.exit(), dpo.err());
    assertTrue(
        dpo.out().contains("reference store: " + store + ", 4 of 4 rows known\n"), dpo.out());
    assertTrue(dpo.out().contains("nothing is scored and no weights are kept\n"), dpo.out());

    // Known by the type that auto came to, whoever names it.
    Precision here = precisionHere().precision();
    for (Precision precision : Precision.values()) {
      Cli named =
          Cli.run(
              dpo(
                  MODEL,
                  PAIRS,
                  "--overwrite_output_dir",
                  "--reference_store",
                  store.toString(),
                  "--dtype",
                  precision.toString()));
      int known = precision == here ? 4 : 0;
      assertTrue(named.out().contains(", " + known + " of 4 rows known\n"), named.out());
    }
  }

  @Test
  void scoresMustGoSomewhere() {
    List<String> args =
        List.of(
            "score", "--model_name_or_path", MODEL.toString(), "--dataset_name", PAIRS.toString());
    List<String> nowhere = new ArrayList<>(args);
    nowhere.addAll(List.of("--reference_store", "none"));
    Cli cli = Cli.run(nowhere);
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().contains("output: is required"), cli.error());

    List<String> unwritable = new ArrayList<>(args);
    unwritable.addAll(List.of("--reference_store", PAIRS.resolve("store").toString()));
    cli = Cli.run(unwritable);
    assertEquals(ExitCode.OUTPUT, cli.exit());
    assertEquals(1, cli.err().lines().count(), cli.err());
    assertTrue(cli.error().contains("reference_store none"), cli.error());
  }

  @Test
  void anOutputFolderWithAModelIsKept() {
    assertEquals(ExitCode.OK, Cli.run(dpo(MODEL, PAIRS)).exit());
    Cli again = Cli.run(dpo(MODEL, PAIRS));
    assertEquals(ExitCode.USAGE, again.exit());
    assertTrue(again.error().contains("already holds a model"), again.error());
    assertEquals(ExitCode.OK, Cli.run(dpo(MODEL, PAIRS, "--overwrite_output_dir")).exit());
  }

  @Test
  void aModelIsMadeTrainedAndAsked() throws IOException {
    Path text = Files.writeString(folder.resolve("text"), "the cat and the dog\n".repeat(50));
    String start = folder.resolve("start").toString();
    Cli init =
        Cli.run(
            "init",
            "--output_dir",
            start,
            "--tokenizer_text",
            text.toString(),
            "--vocab_size",
            "270",
            "--num_hidden_layers",
            "1");
    assertEquals(ExitCode.OK, init.exit(), init.err());
    assertTrue(init.out().matches("(?s).*a new model of [0-9,]+ parameters.*"), init.out());
    Path rows = rows("{\"text\": \"the cat and the dog\"}\n".repeat(8));
    Cli sft =
        Cli.run(
            "sft",
            "--model_name_or_path",
            start,
            "--dataset_name",
            rows.toString(),
            "--output_dir",
            output().toString(),
            "--max_steps",
            "2");
    assertEquals(ExitCode.OK, sft.exit(), sft.err());
    String[] generate = {
      "generate",
      "--model_name_or_path",
      output().toString(),
      "--prompt",
      "the cat",
      "the dog",
      "--max_new_tokens",
      "4",
      "--temperature",
      "1",
      "--seed",
      "3"
    };
    Cli generated = Cli.run(generate);
    assertEquals(ExitCode.OK, generated.exit(), generated.err());
    assertTrue(generated.out().startsWith("the cat"), generated.out());
    assertEquals(generated.out(), Cli.run(generate).out());

    List<String> toFile = new ArrayList<>(List.of(generate));
    toFile.addAll(List.of("--device", "cpu", "--output_file", folder.resolve("texts").toString()));
    Cli written = Cli.run(toFile);
    assertTrue(written.out().contains("dtype: " + precisionHere() + "\n"), written.out());
  }

  @Test
  void planCountsTheMemoryOfAModelThatIsNotHere() throws IOException {
    List<String> args =
        List.of(
            "plan --shape llama-2-7b --bf16 --prompt_tokens 256 --answer_tokens 192 --device cuda"
                .split(" "));
    Cli table = Cli.run(args);
    assertEquals(ExitCode.OK, table.exit(), table.err());
    assertTrue(table.out().contains("6,738,415,616 parameters, bfloat16"), table.out());
    assertTrue(table.out().contains("\nactivations "), table.out());
    List<String> auto = new ArrayList<>(args);
    auto.remove("--bf16");
    assertTrue(
        Cli.run(auto)
            .out()
            .contains(" parameters, bfloat16 (auto: the GPU multiplies bf16 in hardware)\n"));
    List<String> withMemory = new ArrayList<>(args);
    withMemory.addAll(List.of("--json", "--device_memory", "200GiB"));
    JsonNode json = new ObjectMapper().readTree(Cli.run(withMemory).out());
    long sum = 0;
    for (JsonNode bytes : json.get("bytes")) {
      sum += bytes.asLong();
    }
    assertEquals(json.get("total_bytes").asLong(), sum);
    assertEquals(200L << 30, json.at("/budget/device_bytes").asLong());
    assertTrue(json.at("/budget/max_tokens_per_pack").asInt() >= 640, json::toString);
  }

  @Test
  void planSaysWhatIsMissing() {
    refused(ExitCode.USAGE, "model_name_or_path: is required", List.of("plan"));
    refused(ExitCode.USAGE, "prompt_tokens: is missing", List.of("plan", "--shape", "tiny"));
    refused(
        ExitCode.USAGE,
        "device_memory: got 24 potatoes, expected a size as 24GiB",
        List.of("plan", "--shape", "tiny", "--device_memory", "24 potatoes"));
  }

  @Test
  void benchMeasuresAShape() throws IOException {
    List<String> args =
        List.of("bench", "--shape", "llama:32,1,2,1,48,300", "--device", "cpu", "--rounds", "1");
    Cli table = Cli.run(args);
    assertEquals(ExitCode.OK, table.exit(), table.err());
    assertTrue(table.out().contains("round 1/1: "), table.out());
    assertTrue(table.out().contains("\n  backward "), table.out());
    List<String> withJson = new ArrayList<>(args);
    withJson.addAll(List.of("--json", "--pairs", "2", "--steps", "1", "--bf16"));
    JsonNode json = new ObjectMapper().readTree(Cli.run(withJson).out());
    assertEquals(2, json.at("/rounds/0/pairs").asInt());
    assertEquals("bfloat16", json.get("dtype").asText());
    assertTrue(table.out().contains("\ndtype: " + precisionHere()), table.out());
  }

  @Test
  void benchMeasuresOps() {
    Cli cli =
        Cli.run(
            "bench",
            "--ops",
            "--shape",
            "llama:32,1,2,1,48,300",
            "--device",
            "cpu",
            "--rounds",
            "1");
    assertEquals(ExitCode.OK, cli.exit(), cli.err());
    assertTrue(cli.out().contains("\nattention_backward "), cli.out());
    assertTrue(cli.out().contains("\nmatmul GFLOP/s "), cli.out());
    assertTrue(cli.out().contains("\ndtype: " + precisionHere() + "\n"), cli.out());
  }

  @Test
  void benchRefusesABadShapeInOneLine() {
    Cli cli = Cli.run("bench", "--shape", "smolm2-135m");
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().startsWith("gatun: shape: got smolm2-135m, expected"), cli.error());
    assertTrue(cli.error().contains("did you mean smollm2-135m"), cli.error());
  }

  @Test
  void aMissingModelIsInput() {
    refused(ExitCode.INPUT, "none: does not exist", dpo(folder.resolve("none"), PAIRS));
  }

  @Test
  void tornWeightsAreInput() throws IOException {
    Path torn = Files.createDirectory(folder.resolve("torn"));
    try (Stream<Path> files = Files.list(MODEL)) {
      for (Path file : files.toList()) {
        Files.copy(file, torn.resolve(file.getFileName()));
      }
    }
    try (FileChannel weights =
        FileChannel.open(torn.resolve("model.safetensors"), StandardOpenOption.WRITE)) {
      weights.truncate(weights.size() / 2);
    }
    refused(ExitCode.INPUT, "model.safetensors: ", dpo(torn, PAIRS));
  }

  @Test
  void wrongDataIsInput() throws IOException {
    refused(ExitCode.INPUT, "rows.jsonl: holds no row", dpo(MODEL, rows("")));
    refused(
        ExitCode.INPUT,
        "rows.jsonl:2 (byte 49): the row has no \"chosen\"",
        dpo(
            MODEL,
            rows(
                """
                {"prompt": "a", "chosen": " b", "rejected": "c"}
                {"prompt": "a", "rejected": " c"}
                """)));
    refused(ExitCode.INPUT, "rows.jsonl:1", dpo(MODEL, rows("{\"prompt\": 1}\n")));
    refused(ExitCode.INPUT, "nothing.jsonl: no such", dpo(MODEL, folder.resolve("nothing.jsonl")));
  }

  @Test
  void theSelfTestPassesAndNamesEveryOp() throws IOException {
    Cli cli = Cli.run("selftest", "--device", "cpu", "--quick");
    assertEquals(ExitCode.OK, cli.exit(), cli.out());
    for (String name :
        List.of("matmul", "rmsnorm_backward", "attention_forward", "adamw", "gpt2 sft weights")) {
      for (String dtype : List.of("f32", "bf16")) {
        assertTrue(
            cli.out().lines().anyMatch(line -> line.matches(name + " +" + dtype + " .* pass")),
            cli.out());
      }
    }
    assertTrue(cli.out().lines().toList().getLast().endsWith("s: all pass"), cli.out());

    Cli json = Cli.run("selftest", "--device", "cpu", "--quick", "--json");
    JsonNode report = new ObjectMapper().readTree(json.out());
    assertTrue(report.get("passed").asBoolean());
    long rows = cli.out().lines().filter(line -> line.endsWith("  pass")).count();
    assertEquals(rows, report.get("results").size());
  }

  @Test
  void theSelfTestOfAnAbsentDeviceIsNoPass() {
    Cli cli = Cli.run("selftest", "--device", "cuda:1");
    assertEquals(ExitCode.BACKEND, cli.exit());
    assertEquals("", cli.out());
  }

  @Test
  void cudaIsNotReplacedByAnotherDevice() {
    refused(
        ExitCode.BACKEND,
        "cuda:1: this machine shows 1 GPU",
        dpo(MODEL, PAIRS, "--device", "cuda:1"));
  }

  /** A full disk, as the kernel's own stand-in for one reports it. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aFullDiskIsOutputAndLeavesNoModel() throws IOException {
    Files.createDirectory(output());
    Files.createSymbolicLink(output().resolve("metrics.jsonl"), Path.of("/dev/full"));
    refused(ExitCode.OUTPUT, "metrics.jsonl: cannot write metrics: ", dpo(MODEL, PAIRS));
  }

  @Test
  void anOutputThatIsAFileIsOutput() throws IOException {
    Files.writeString(output(), "a file");
    refused(ExitCode.OUTPUT, "cannot make the output folder", dpo(MODEL, PAIRS));
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void aTerminatedRunFinishesItsStepAndSaves() throws Exception {
    List<String> command = command(dpo(MODEL, PAIRS, "--overwrite_output_dir"));
    command.set(command.indexOf("--max_steps") + 1, "1000000");
    Path log = folder.resolve("log");
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      while (!Files.readString(log).contains("step 1/")) {
        assertTrue(process.isAlive(), Files.readString(log));
        Thread.sleep(50);
      }
      process.destroy(); // SIGTERM
      assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running");
    } finally {
      process.destroyForcibly();
    }
    assertEquals(128 + 15, process.exitValue(), Files.readString(log));
    assertTrue(Files.readString(log).contains("interrupted after "), Files.readString(log));
    assertTrue(Files.exists(output().resolve("model.safetensors")));
  }
}
