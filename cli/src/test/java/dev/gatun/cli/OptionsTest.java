package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.report.ConsoleProgress;
import dev.gatun.report.EffectiveConfig;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.LossType;
import dev.gatun.train.SftConfig;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.ParseResult;

/** What the training commands make of their command line and configuration file. */
class OptionsTest {
  private static final List<String> REQUIRED =
      List.of("dpo", "--model_name_or_path", "m", "--dataset_name", "d", "--output_dir", "o");

  @TempDir Path folder;

  private static DpoConfig dpo(String... options) {
    List<String> args = new ArrayList<>(REQUIRED);
    args.addAll(List.of(options));
    CommandLine commands = new CommandLine(Main.spec());
    ParseResult parsed =
        commands.parseArgs(Arguments.normalize(args.toArray(String[]::new), commands)).subcommand();
    DpoConfig.Builder builder = DpoConfig.builder();
    DpoCommand.options().apply(parsed, builder, console());
    return builder.build();
  }

  private static Console console() {
    return new Console(new PrintStream(OutputStream.nullOutputStream()), ConsoleProgress.Style.BAR);
  }

  private static Cli run(String... options) {
    List<String> args = new ArrayList<>(REQUIRED);
    args.addAll(List.of(options));
    return Cli.run(args);
  }

  private String file(String yaml) throws Exception {
    return Files.writeString(folder.resolve("run.yaml"), yaml).toString();
  }

  /** The arguments of DPOConfig in the script that recorded the golden runs. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "output_dir",
        "use_cpu",
        "report_to",
        "seed",
        "save_strategy",
        "disable_tqdm",
        "logging_steps",
        "logging_nan_inf_filter",
        "max_steps",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "max_grad_norm",
        "weight_decay",
        "adam_beta2",
        "optim",
        "train_sampling_strategy",
        "dataloader_pin_memory",
        "bf16",
        "gradient_checkpointing",
        "torch_compile",
        "max_length",
        "beta",
        "loss_type",
        "loss_weights",
        "label_smoothing",
        "f_divergence_type",
        "f_alpha_divergence_coef",
        "ld_alpha",
        "use_weighting",
        "discopop_tau",
        "precompute_ref_log_probs",
        "padding_free",
        "sync_ref_model",
        "ref_model_sync_steps",
        "model_name_or_path",
        "dataset_name",
        "dataset_train_split",
        "ref_model_mixup_alpha",
        "warmup_ratio",
        "adam_beta1",
        "adam_epsilon",
        "num_train_epochs",
        "truncation_mode",
        "dtype"
      })
  void trlsNamesExist(String name) {
    assertTrue(
        new CommandLine(Main.spec())
            .getSubcommands()
            .get("dpo")
            .getCommandSpec()
            .optionsMap()
            .containsKey("--" + name));
  }

  @Test
  void everyComponentOfTheConfigurationsIsAnOption() {
    Set<String> dpo = new HashSet<>();
    DpoCommand.options().flags().forEach(flag -> dpo.add(flag.name()));
    assertEquals(names(DpoCommand.defaults()), dpo);
    Set<String> sft = new HashSet<>();
    SftCommand.options().flags().forEach(flag -> sft.add(flag.name()));
    Set<String> sftRecord = names(SftCommand.defaults());
    sftRecord.remove("ref_model_name_or_path"); // of ModelSource, which both share
    assertEquals(sftRecord, sft);
  }

  private static Set<String> names(Record config) {
    Set<String> names = new HashSet<>();
    EffectiveConfig.options(config).forEach(option -> names.add(option.name()));
    return names;
  }

  @Test
  void bothCasesAndAllWaysOfSwitching() {
    assertEquals(0.3, dpo("--beta=0.3").loss().beta());
    assertEquals(1e-4, dpo("--learning-rate", "1e-4").optimizer().learningRate());
    assertEquals(1e-4, dpo("--learning-rate=1e-4").optimizer().learningRate());
    assertEquals(true, dpo("--bf16").run().bf16());
    assertEquals(true, dpo("--bf16", "true").run().bf16());
    assertEquals(true, dpo("--bf16=True", "--max_steps", "5").run().bf16());
    assertEquals(false, dpo("--bf16", "false").run().bf16());
    assertEquals(false, dpo("--no_bf16").run().bf16());
    assertEquals(false, dpo("--no-bf16").run().bf16());
    assertNull(dpo("--bf16", "none").run().bf16());
    assertNull(dpo().run().bf16());
    assertEquals(-1, dpo("--max_steps", "-1").run().maxSteps());
    assertNull(dpo("--max_length", "0").data().maxLength());
    assertNull(dpo("--max_length", "none").data().maxLength());
  }

  /** The device decides, unless the user does. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "                       | auto",
        "--dtype auto           | auto",
        "--bf16                 | bfloat16",
        "--dtype bfloat16       | bfloat16",
        "--no_bf16              | float32",
        "--bf16 false           | float32",
        "--dtype float32        | float32",
        "--dtype float32 --bf16 | bfloat16"
      })
  void storageTypes(@Nullable String options, String expected) {
    String[] words = options == null ? new String[0] : options.strip().split(" +");
    assertEquals(expected, dpo(words).precision().toString());
    CommandLine commands = new CommandLine(Main.spec());
    List<String> args = new ArrayList<>(List.of("bench"));
    args.addAll(List.of(words));
    assertEquals(
        expected,
        BenchCommand.request(
                commands
                    .parseArgs(Arguments.normalize(args.toArray(String[]::new), commands))
                    .subcommand())
            .config()
            .dtype()
            .toString());
  }

  @Test
  void listsAreSeparatedBySpaces() {
    DpoConfig config = dpo("--loss_type", "sigmoid", "sft", "--loss_weights", "1.0", "0.5");
    assertEquals(List.of(LossType.SIGMOID, LossType.SFT), config.loss().lossType());
    assertEquals(List.of(1.0, 0.5), config.loss().lossWeights());
  }

  @Test
  void theCommandLineOverridesTheFile() throws Exception {
    String file =
        file(
            """
            beta: 0.3
            learning-rate: 1e-4
            loss_type: [sigmoid, sft]
            loss_weights:
            - 1
            - 2
            bf16: true
            ld_alpha: null
            max_length: null
            save_strategy: no
            """);
    DpoConfig config = dpo("--config", file, "--beta", "0.5", "--no_bf16");
    assertEquals(0.5, config.loss().beta());
    assertEquals(1e-4, config.optimizer().learningRate());
    assertEquals(List.of(1.0, 2.0), config.loss().lossWeights());
    assertEquals(false, config.run().bf16());
    assertNull(config.data().maxLength());
  }

  @Test
  void theEffectiveConfigurationReadsBackAsItself() throws Exception {
    DpoConfig config =
        dpo("--loss_type", "sigmoid", "sft", "--ld_alpha", "0.5", "--bf16", "--max_length", "none");
    assertEquals(config, dpo("--config", file(EffectiveConfig.yaml(config))));
    // What is printed leaves open what was: on another machine it is that machine's choice.
    assertTrue(EffectiveConfig.yaml(dpo()).contains("dtype: auto\n"));
    assertEquals(dpo(), dpo("--config", file(EffectiveConfig.yaml(dpo()))));
    DpoConfig float32 = dpo("--no_bf16");
    assertEquals(float32, dpo("--config", file(EffectiveConfig.yaml(float32))));
  }

  @Test
  void theExampleFileIsValid() {
    DpoConfig config = dpo("--config", Path.of("..", "docs", "examples", "dpo.yaml").toString());
    assertEquals(5e-7, config.optimizer().learningRate());
    assertTrue(config.loss().precomputeRefLogProbs());
  }

  @Test
  void plainLinesCanBeAskedFor() {
    CommandLine commands = new CommandLine(Main.spec());
    List<String> args = new ArrayList<>(REQUIRED);
    args.add("--disable_tqdm");
    ParseResult parsed =
        commands.parseArgs(Arguments.normalize(args.toArray(String[]::new), commands)).subcommand();
    assertEquals(
        ConsoleProgress.Style.LINES,
        DpoCommand.options().apply(parsed, DpoConfig.builder(), console()).progress());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--btea 0.1            | btea: is not an option of gatun dpo; did you mean --beta?",
        "--beta x              | beta: got x, expected a number",
        "--beta                | '--beta'",
        "--beta 0.1 --beta 0.2 | beta: got 0.1 0.2, expected one value",
        "--beta -1             | beta: got -1, expected a number above 0",
        "--max_steps 1.5       | max_steps: got 1.5, expected a whole number",
        "--bf16 maybe          | bf16: got maybe, expected true or false",
        "--no_beta             | no_beta: is not an option",
        "--loss_type sigmiod   | did you mean sigmoid?",
        "--device gpu          | device: got gpu, expected auto, cpu, cuda or cuda:N",
        "--dtype float16       | dtype: got float16, expected one of auto, float32, bfloat16",
        "--padding_free false  | padding_free: got false, only true is possible",
        "--lora_r 8            | lora_r: is not an option here: adapters",
        "--report_to wandb     | report_to: got wandb, only none is possible",
        "--attn_implementation sdpa | attn_implementation: got sdpa, expected one of auto, gatun, cudnn",
        "--rpo_alpha 1         | use loss_type sigmoid sft with loss_weights",
        "stray                 | stray",
        "--discopop_tau 0.1    | discopop_tau: has no effect here: only loss_type discopop reads"
            + " it",
      })
  void wrongOptionsAreOneLineAndCode2(String options, String message) {
    Cli cli = run(options.strip().split(" +"));
    assertEquals(ExitCode.USAGE, cli.exit(), cli.err());
    assertTrue(cli.error().contains(message.strip()), cli.error());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "beta: 1;lerning_rate: 1 | run.yaml:2: lerning_rate: is not an option; did you mean"
            + " learning_rate?",
        "beta: fast              | run.yaml:1: beta: got fast, expected a number",
        "beta: 1;beta: 2         | run.yaml:2: beta is given twice",
        "beta: {a: 1}            | run.yaml:1: beta: expected a value or a list of values",
        "seed: [1, 2]            | run.yaml:1: seed: got 1 2, expected one value",
        "a: [1                   | not YAML",
        "just text               | run.yaml:1: expected lines of the form key: value",
      })
  void wrongFilesAreOneLineThatNamesFileAndLine(String yaml, String message) throws Exception {
    Cli cli = run("--config", file(yaml.strip().replace(';', '\n') + "\n"));
    assertEquals(ExitCode.USAGE, cli.exit(), cli.err());
    assertTrue(cli.error().contains(message.strip()), cli.error());
  }

  @Test
  void aMissingConfigurationFileIsNamed() {
    Cli cli = run("--config", folder.resolve("none.yaml").toString());
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().contains("none.yaml does not exist"), cli.error());
  }

  @Test
  void requiredOptionsAreNamed() {
    Cli cli = Cli.run("dpo");
    assertEquals(ExitCode.USAGE, cli.exit());
    assertTrue(cli.error().contains("model_name_or_path: is required"), cli.error());
  }

  @Test
  void sftHasItsOwn() {
    SftConfig.Builder builder = SftConfig.builder();
    CommandLine commands = new CommandLine(Main.spec());
    List<String> args = new ArrayList<>(REQUIRED);
    args.set(0, "sft");
    args.addAll(List.of("--completion_only_loss", "false", "--dataset_text_field", "body"));
    SftCommand.options()
        .apply(
            commands
                .parseArgs(Arguments.normalize(args.toArray(String[]::new), commands))
                .subcommand(),
            builder,
            console());
    assertEquals(false, builder.build().completionOnlyLoss());
    assertEquals("body", builder.build().datasetTextField());
    assertEquals(2e-5, builder.build().optimizer().learningRate());
  }
}
