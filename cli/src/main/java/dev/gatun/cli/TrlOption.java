package dev.gatun.cli;

import dev.gatun.train.ConfigException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * An option of TRL or transformers that chooses nothing here: either its meaning always holds, and
 * then it is accepted, or it never does, and then it is an error with the reason.
 *
 * @param name in snake case, without dashes
 * @param accepted the values whose meaning holds
 * @param reason what Gatun does instead, or the remedy
 */
record TrlOption(String name, Set<String> accepted, String reason) {
  private static final String NO_ADAPTERS =
      "adapters are not supported yet; all weights are trained";
  private static final String NO_EVALUATION =
      "there is no evaluation during training yet; score the saved model afterwards";
  private static final String NO_RESUME =
      "runs cannot be resumed yet; checkpoint-N are model directories to start from";

  static final List<TrlOption> ALL =
      List.of(
          holds("padding_free", "true", "Gatun never pads; remove it"),
          holds("use_cpu", "true", "use device"),
          holds("report_to", "none", "metrics go to output_dir/metrics.jsonl"),
          holds("dataloader_num_workers", "0", "rows are tokenized once, before training"),
          holds("dataloader_pin_memory", "false", "there is no data loader process"),
          holds("dataloader_drop_last", "false", "the last short batch is trained on"),
          holds("remove_unused_columns", "true", "columns that are not read are ignored"),
          holds("disable_dropout", "true", "Gatun never drops activations"),
          holds("full_determinism", "true", "Gatun is always deterministic"),
          holds("logging_nan_inf_filter", "false", "a loss that is not finite is never hidden"),
          holds("logging_strategy", "steps", "set logging_steps"),
          holds("torch_compile", "false", "there is nothing to compile; remove it"),
          holds("use_liger_kernel", "false", "logits are never stored whole; remove it"),
          holds("activation_offloading", "false", "use gradient_checkpointing to save memory"),
          holds("fp16", "false", "use bf16"),
          holds("trust_remote_code", "false", "models are read from files, never from their code"),
          holds("model_revision", "main", "model_name_or_path is a folder; name the one you mean"),
          holds("dataset_streaming", "false", "rows are tokenized once, before training"),
          holds("push_to_hub", "false", "upload output_dir with Hugging Face's own tools"),
          holds("save_only_model", "true", NO_RESUME),
          holds("eval_strategy", "no", NO_EVALUATION),
          holds("do_train", "true", "the command trains"),
          holds("packing", "false", "rows stay rows; Gatun packs them without changing batches"),
          holds("assistant_only_loss", "false", "conversations are not supported yet"),
          holds("shuffle_dataset", "false", "train_sampling_strategy random shuffles every epoch"),
          holds("use_peft", "false", NO_ADAPTERS),
          holds("load_in_4bit", "false", NO_ADAPTERS),
          holds("load_in_8bit", "false", NO_ADAPTERS),
          holds("router_aux_loss_coef", "0", "mixture-of-experts models are not supported"),
          never("lora_r", NO_ADAPTERS),
          never("lora_alpha", NO_ADAPTERS),
          never("lora_dropout", NO_ADAPTERS),
          never("lora_target_modules", NO_ADAPTERS),
          never("optim_args", "use momentum, rmsprop_alpha or rmsprop_epsilon"),
          never("lr_scheduler_kwargs", "the schedules have no parameters but warm-up; remove it"),
          never("gradient_checkpointing_kwargs", "there is one way to recompute; remove it"),
          never(
              "precompute_ref_batch_size",
              "the reference is scored in packs of max_tokens_per_pack"),
          never("dataset_num_proc", "tokenization uses all threads; remove it"),
          never("dataset_config", "dataset_name is a file or a folder; name the one you mean"),
          never("dataset_test_split", NO_EVALUATION),
          never("eval_steps", NO_EVALUATION),
          never("per_device_eval_batch_size", NO_EVALUATION),
          never("resume_from_checkpoint", NO_RESUME),
          never("save_total_limit", "old checkpoints are never deleted; raise save_steps"),
          never("data_seed", "seed is the seed of shuffling"),
          never("pad_to_multiple_of", "Gatun never pads; remove it"),
          never("pad_token", "Gatun never pads; remove it"),
          never("group_by_length", "use train_sampling_strategy group_by_length"),
          never("max_prompt_length", "TRL removed it; use max_length"),
          never("max_completion_length", "TRL removed it; use max_length"),
          never("rpo_alpha", "TRL removed it; use loss_type sigmoid sft with loss_weights"),
          never("model_init_kwargs", "use dtype"),
          never("run_name", "metrics go to output_dir/metrics.jsonl; remove it"),
          never("neftune_noise_alpha", "noise on embeddings is not supported"));

  private static final Map<String, TrlOption> BY_NAME =
      ALL.stream().collect(Collectors.toMap(TrlOption::name, Function.identity()));

  private static TrlOption holds(String name, String accepted, String reason) {
    return new TrlOption(name, Set.of(accepted), reason);
  }

  private static TrlOption never(String name, String reason) {
    return new TrlOption(name, Set.of(), reason);
  }

  static Map<String, TrlOption> byName() {
    return BY_NAME;
  }

  void check(List<String> values) {
    for (String value : values) {
      if (!accepted.contains(value.toLowerCase(Locale.ROOT))) {
        throw new ConfigException(
            name,
            accepted.isEmpty()
                ? "is not an option here: " + reason
                : "got %s, only %s is possible: %s"
                    .formatted(value, String.join(", ", accepted), reason));
      }
    }
  }
}
