package dev.gatun.cli;

import dev.gatun.report.EffectiveConfig;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.DpoTrainer;
import dev.gatun.train.ReferenceStoreFolder;
import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun dpo}: trains a policy from preference pairs. */
final class DpoCommand implements Command {
  private final TrainingOptions<DpoConfig.Builder> options = options();

  static TrainingOptions<DpoConfig.Builder> options() {
    return new TrainingOptions<>(Flags.dpo());
  }

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DpoCommand());
    options().declare(spec, defaults());
    spec.usageMessage()
        .customSynopsis(
            "gatun dpo --model_name_or_path DIR --dataset_name PATH --output_dir DIR [OPTION]...");
    return spec;
  }

  /** The defaults of the command: those of the library, and scores of the reference are kept. */
  static DpoConfig.Builder builder() {
    return DpoConfig.builder().referenceStore(ReferenceStoreFolder.AUTO);
  }

  /** A configuration where only what is required is set. */
  static DpoConfig defaults() {
    Path placeholder = Path.of(".");
    return builder()
        .modelNameOrPath(placeholder)
        .datasetName(placeholder)
        .outputDir(placeholder)
        .build();
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    DpoConfig.Builder builder = builder();
    Console shown = options.apply(parsed, builder, console);
    DpoConfig config = builder.build();
    shown.settings().print(EffectiveConfig.yaml(config));
    try (RunOutput output = RunOutput.open(config.run(), shown);
        DpoTrainer trainer = DpoTrainer.create(config, output.listeners());
        Interruption _ = new Interruption(trainer::interrupt)) {
      return output.finish(trainer.train());
    }
  }
}
