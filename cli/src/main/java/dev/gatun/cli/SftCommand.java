package dev.gatun.cli;

import dev.gatun.report.EffectiveConfig;
import dev.gatun.train.SftConfig;
import dev.gatun.train.SftTrainer;
import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun sft}: trains a model on texts. */
final class SftCommand implements Command {
  private final TrainingOptions<SftConfig.Builder> options = options();

  static TrainingOptions<SftConfig.Builder> options() {
    return new TrainingOptions<>(Flags.sft());
  }

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new SftCommand());
    options().declare(spec, defaults());
    spec.usageMessage()
        .customSynopsis(
            "gatun sft --model_name_or_path DIR --dataset_name PATH --output_dir DIR [OPTION]...");
    return spec;
  }

  /** A configuration where only what is required is set. */
  static SftConfig defaults() {
    Path placeholder = Path.of(".");
    return SftConfig.builder()
        .modelNameOrPath(placeholder)
        .datasetName(placeholder)
        .outputDir(placeholder)
        .build();
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    SftConfig.Builder builder = SftConfig.builder();
    Console shown = options.apply(parsed, builder, console);
    SftConfig config = builder.build();
    shown.settings().print(EffectiveConfig.yaml(config));
    try (RunOutput output = RunOutput.open(config.run(), shown);
        SftTrainer trainer = SftTrainer.create(config, output.listeners());
        Interruption _ = new Interruption(trainer::interrupt)) {
      return output.finish(trainer.train());
    }
  }
}
