package dev.gatun.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The commands of the demo, in order, as a person would type them.
 *
 * @param folder of everything that is written
 * @param seed of texts, weights and training; samples to train on and to measure have others
 * @param place options that say where to compute, for the commands that compute
 */
record DemoPlan(Path folder, long seed, List<String> place, Size size) {
  /** Small beta: far from the reference; large beta: close to it. */
  static final List<String> BETAS = List.of("0.1", "5");

  /** Not auto: a machine's instructions must not decide what a newcomer sees. */
  private static final String DTYPE = "float32";

  /**
   * How much of everything.
   *
   * @param hidden width of the model
   * @param sftSteps of 32 reviews each
   * @param dpoEpochs passes over the pairs, in steps of 32
   */
  record Size(int reviews, int prompts, int freshPrompts, int hidden, int sftSteps, int dpoEpochs) {
    /** A minute and a half on one thread. */
    static final Size FULL = new Size(4000, 1000, 500, 128, 250, 4);
  }

  DemoPlan {
    place = List.copyOf(place);
  }

  private String path(String name) {
    return folder.resolve(name).toString();
  }

  /** The policy's folder. */
  Path policy(String beta) {
    return folder.resolve("dpo-beta-" + beta);
  }

  private static String text(long number) {
    return Long.toString(number);
  }

  List<List<String>> commands() {
    List<List<String>> commands = new ArrayList<>();
    commands.add(
        List.of(
            "demo", "reviews",
            "--output_dir", folder.toString(),
            "--num_reviews", text(size.reviews),
            "--num_prompts", text(size.prompts),
            "--num_fresh_prompts", text(size.freshPrompts),
            "--seed", text(seed)));
    commands.add(
        List.of(
            "init",
            "--output_dir",
            path("start"),
            "--family",
            "llama",
            "--hidden_size",
            text(size.hidden),
            "--intermediate_size",
            text(size.hidden * 3L),
            "--num_hidden_layers",
            "4",
            "--tie_word_embeddings",
            "true",
            "--max_position_embeddings",
            "256",
            "--tokenizer_text",
            path("reviews.txt"),
            "--vocab_size",
            "600",
            "--seed",
            text(seed)));
    commands.add(
        computing(
            "sft",
            "--model_name_or_path",
            path("start"),
            "--dataset_name",
            path("reviews.jsonl"),
            "--output_dir",
            path("sft"),
            "--max_steps",
            text(size.sftSteps),
            "--per_device_train_batch_size",
            "32",
            "--learning_rate",
            "3e-3",
            "--lr_scheduler_type",
            "cosine",
            "--warmup_steps",
            "20",
            "--logging_steps",
            "50",
            "--save_strategy",
            "no",
            "--dtype",
            DTYPE,
            "--seed",
            text(seed)));
    commands.add(
        computing(
            "generate",
            "--model_name_or_path",
            path("sft"),
            "--prompts_file",
            path("prompts.txt"),
            "--num_return_sequences",
            "4",
            "--temperature",
            "1",
            "--max_new_tokens",
            "64",
            "--dtype",
            DTYPE,
            "--seed",
            text(seed + 1),
            "--output_file",
            path("samples.jsonl")));
    commands.add(
        List.of(
            "demo", "label",
            "--samples_file", path("samples.jsonl"),
            "--output_file", path("pairs.jsonl")));
    for (String beta : BETAS) {
      commands.add(
          computing(
              "dpo",
              "--model_name_or_path",
              path("sft"),
              "--dataset_name",
              path("pairs.jsonl"),
              "--output_dir",
              policy(beta).toString(),
              "--beta",
              beta,
              "--num_train_epochs",
              text(size.dpoEpochs),
              "--per_device_train_batch_size",
              "32",
              "--learning_rate",
              "3e-4",
              "--logging_steps",
              "25",
              "--save_strategy",
              "no",
              "--dtype",
              DTYPE,
              "--seed",
              text(seed)));
    }
    List<String> measure =
        computing(
            "demo",
            "measure",
            "--reference",
            path("sft"),
            "--prompts_file",
            path("fresh_prompts.txt"),
            "--seed",
            text(seed + 2),
            "--policies");
    BETAS.reversed().forEach(beta -> measure.add(policy(beta).toString()));
    commands.add(measure);
    return commands;
  }

  private List<String> computing(String... words) {
    List<String> command = new ArrayList<>(List.of(words));
    // Before the last word, which may be an option that takes what follows.
    command.addAll(command.getLast().startsWith("--") ? command.size() - 1 : command.size(), place);
    return command;
  }
}
