package dev.gatun.cli;

import dev.gatun.backend.AttentionImplementation;
import dev.gatun.backend.CudaOptions;
import dev.gatun.cli.Flag.Group;
import dev.gatun.data.OnBadRow;
import dev.gatun.data.SamplingStrategy;
import dev.gatun.data.TruncationMode;
import dev.gatun.train.Device;
import dev.gatun.train.DpoConfig;
import dev.gatun.train.FDivergence;
import dev.gatun.train.LearningRateSchedule;
import dev.gatun.train.LossType;
import dev.gatun.train.OptimizerType;
import dev.gatun.train.PrecisionChoice;
import dev.gatun.train.ProfileSteps;
import dev.gatun.train.ReferenceStoreFolder;
import dev.gatun.train.SaveStrategy;
import dev.gatun.train.SftConfig;
import dev.gatun.train.TrainingBuilder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;

/** The options of the training commands: TRL's and transformers' names, and a few of Gatun's. */
final class Flags {
  private Flags() {}

  static List<Flag<DpoConfig.Builder>> dpo() {
    List<Flag<DpoConfig.Builder>> flags = new ArrayList<>(shared());
    flags.addAll(
        List.of(
            Flag.optional(
                "ref_model_name_or_path",
                Group.MODEL,
                "DIR",
                "Model directory of the reference; none: the model that training starts from.",
                Flag::path,
                DpoConfig.Builder::refModelNameOrPath),
            Flag.list(
                "loss_type",
                Group.LOSS,
                "LOSS",
                "Losses to add up: " + choices(LossType.values()) + ".",
                Flag.choice(LossType.class),
                DpoConfig.Builder::lossType),
            Flag.list(
                "loss_weights",
                Group.LOSS,
                "NUMBER",
                "Their weights, one per loss; unset: all 1.",
                Flag::number,
                DpoConfig.Builder::lossWeights),
            Flag.one(
                "beta",
                Group.LOSS,
                "NUMBER",
                "Strength of the pull towards the reference; tau of ipo.",
                Flag::number,
                DpoConfig.Builder::beta),
            Flag.one(
                "label_smoothing",
                Group.LOSS,
                "NUMBER",
                "Probability that a label is flipped: sigmoid (conservative DPO), robust, exo_pair,"
                    + " aot, aot_unpaired.",
                Flag::number,
                DpoConfig.Builder::labelSmoothing),
            Flag.one(
                "f_divergence_type",
                Group.LOSS,
                "NAME",
                "Divergence from the reference: " + choices(FDivergence.values()) + ".",
                Flag.choice(FDivergence.class),
                DpoConfig.Builder::fDivergenceType),
            Flag.one(
                "f_alpha_divergence_coef",
                Group.LOSS,
                "NUMBER",
                "Alpha of alpha_divergence.",
                Flag::number,
                DpoConfig.Builder::fAlphaDivergenceCoef),
            Flag.optional(
                "ld_alpha",
                Group.LOSS,
                "NUMBER",
                "LD-DPO: weight of the tokens beyond the shorter answer's length; none: off.",
                Flag::number,
                DpoConfig.Builder::ldAlpha),
            Flag.toggle(
                "use_weighting",
                Group.LOSS,
                "WPO: weigh each pair by the policy's probability of its answers.",
                DpoConfig.Builder::useWeighting),
            Flag.one(
                "discopop_tau",
                Group.LOSS,
                "NUMBER",
                "Temperature of discopop.",
                Flag::number,
                DpoConfig.Builder::discopopTau),
            Flag.one(
                "simpo_gamma",
                Group.LOSS,
                "NUMBER",
                "Target margin of simpo.",
                Flag::number,
                DpoConfig.Builder::simpoGamma),
            Flag.toggle(
                "reference_free",
                Group.LOSS,
                "Leave the reference out of the loss.",
                DpoConfig.Builder::referenceFree),
            Flag.toggle(
                "sync_ref_model",
                Group.LOSS,
                "TR-DPO: mix the policy into the reference every ref_model_sync_steps.",
                DpoConfig.Builder::syncRefModel),
            Flag.one(
                "ref_model_sync_steps",
                Group.LOSS,
                "STEPS",
                "Optimizer steps between two such mixes.",
                Flag::integer,
                DpoConfig.Builder::refModelSyncSteps),
            Flag.one(
                "ref_model_mixup_alpha",
                Group.LOSS,
                "NUMBER",
                "Share of the policy in a mix.",
                Flag::number,
                DpoConfig.Builder::refModelMixupAlpha),
            Flag.toggle(
                "precompute_ref_log_probs",
                Group.LOSS,
                "Score the reference once before training, then free it.",
                DpoConfig.Builder::precomputeRefLogProbs),
            Flag.one(
                "reference_store",
                Group.LOSS,
                "DIR",
                "Folder that keeps the reference's scores for later runs; auto:"
                    + " $XDG_CACHE_HOME/gatun/reference; none: nothing is kept.",
                Flag.named(ReferenceStoreFolder::fromName),
                DpoConfig.Builder::referenceStore)));
    return List.copyOf(flags);
  }

  static List<Flag<SftConfig.Builder>> sft() {
    List<Flag<SftConfig.Builder>> flags = new ArrayList<>(shared());
    flags.addAll(
        List.of(
            Flag.one(
                "dataset_text_field",
                Group.DATA,
                "COLUMN",
                "Column of the text in rows without a prompt.",
                Flag::text,
                SftConfig.Builder::datasetTextField),
            Flag.optional(
                "completion_only_loss",
                Group.LOSS,
                "true|false",
                "Train on answers only; none: where a row has a prompt.",
                Flag::bool,
                (builder, only) -> {
                  if (only) {
                    builder.completionLossOnly();
                  } else {
                    builder.completionAndPromptLoss();
                  }
                })));
    return List.copyOf(flags);
  }

  private static <B extends TrainingBuilder<B>> List<Flag<B>> shared() {
    return List.of(
        Flag.one(
            "model_name_or_path",
            Group.MODEL,
            "DIR",
            "Hugging Face model directory that training starts from.",
            Flag::path,
            B::modelNameOrPath),
        dtype(B::dtype),
        Flag.one(
            "dataset_name",
            Group.DATA,
            "PATH",
            "JSONL or JSON file, or a folder that holds one per split.",
            Flag::path,
            B::datasetName),
        Flag.one(
            "dataset_train_split",
            Group.DATA,
            "NAME",
            "Name of the file, without extension, when dataset_name is a folder.",
            Flag::text,
            B::datasetTrainSplit),
        new Flag<>(
            "max_length",
            Group.DATA,
            Flag.Arity.OPTIONAL,
            "TOKENS",
            "Longest sequence, prompt and answer; none or 0: no limit.",
            (builder, values) -> {
              String text = Flag.only("max_length", values);
              int length = Flag.isNone(text) ? 0 : Flag.integer("max_length", text);
              if (length == 0) {
                builder.unlimitedLength();
              } else {
                builder.maxLength(length);
              }
            }),
        Flag.one(
            "truncation_mode",
            Group.DATA,
            "NAME",
            "End of a longer sequence that is kept: " + choices(TruncationMode.values()) + ".",
            Flag.choice(TruncationMode.class),
            B::truncationMode),
        Flag.one(
            "on_bad_row",
            Group.DATA,
            "NAME",
            "What a row that cannot be trained on does: "
                + choices(OnBadRow.values())
                + " (left out, counted and reported).",
            Flag.choice(OnBadRow.class),
            B::onBadRow),
        Flag.one(
            "optim",
            Group.OPTIMIZER,
            "NAME",
            "Update rule: " + choices(OptimizerType.values()) + ".",
            Flag.choice(OptimizerType.class),
            B::optim),
        Flag.one(
            "learning_rate",
            Group.OPTIMIZER,
            "NUMBER",
            "Peak learning rate.",
            Flag::number,
            B::learningRate),
        Flag.one(
            "lr_scheduler_type",
            Group.OPTIMIZER,
            "NAME",
            "Learning rate after warm-up: " + choices(LearningRateSchedule.values()) + ".",
            Flag.choice(LearningRateSchedule.class),
            B::lrSchedulerType),
        Flag.one(
            "warmup_steps",
            Group.OPTIMIZER,
            "STEPS",
            "Steps of linear warm-up; below 1: a share of all steps.",
            Flag::number,
            B::warmupSteps),
        Flag.one(
            "warmup_ratio",
            Group.OPTIMIZER,
            "NUMBER",
            "Warm-up as a share of all steps; older name of warmup_steps below 1.",
            Flag::number,
            B::warmupRatio),
        Flag.one(
            "weight_decay",
            Group.OPTIMIZER,
            "NUMBER",
            "Decay of all weights but biases and norms.",
            Flag::number,
            B::weightDecay),
        Flag.one(
            "max_grad_norm",
            Group.OPTIMIZER,
            "NUMBER",
            "Gradients of a larger norm are scaled down to it; 0: never.",
            Flag::number,
            B::maxGradNorm),
        Flag.one(
            "adam_beta1",
            Group.OPTIMIZER,
            "NUMBER",
            "Decay of AdamW's first moment.",
            Flag::number,
            B::adamBeta1),
        Flag.one(
            "adam_beta2",
            Group.OPTIMIZER,
            "NUMBER",
            "Decay of AdamW's second moment.",
            Flag::number,
            B::adamBeta2),
        Flag.one(
            "adam_epsilon",
            Group.OPTIMIZER,
            "NUMBER",
            "Added to AdamW's denominator.",
            Flag::number,
            B::adamEpsilon),
        Flag.one(
            "rmsprop_alpha",
            Group.OPTIMIZER,
            "NUMBER",
            "Decay of RMSprop's mean square.",
            Flag::number,
            B::rmspropAlpha),
        Flag.one(
            "rmsprop_epsilon",
            Group.OPTIMIZER,
            "NUMBER",
            "Added to RMSprop's denominator.",
            Flag::number,
            B::rmspropEpsilon),
        Flag.one(
            "momentum",
            Group.OPTIMIZER,
            "NUMBER",
            "Momentum of SGD and RMSprop.",
            Flag::number,
            B::momentum),
        Flag.toggle(
            "bf16_stochastic_round",
            Group.OPTIMIZER,
            "Round bf16 weights at random, right on average, instead of keeping exact f32 masters.",
            B::bf16StochasticRound),
        Flag.one(
            "output_dir",
            Group.RUN,
            "DIR",
            "Folder of the trained model and metrics.jsonl.",
            Flag::path,
            B::outputDir),
        Flag.toggle(
            "overwrite_output_dir",
            Group.RUN,
            "Write into output_dir even if it already holds a model.",
            B::overwriteOutputDir),
        Flag.one(
            "max_steps",
            Group.RUN,
            "STEPS",
            "Optimizer steps; -1: as num_train_epochs says.",
            Flag::integer,
            B::maxSteps),
        Flag.one(
            "num_train_epochs",
            Group.RUN,
            "NUMBER",
            "Passes over the rows.",
            Flag::number,
            B::numTrainEpochs),
        Flag.one(
            "per_device_train_batch_size",
            Group.RUN,
            "ROWS",
            "Rows in a micro-batch.",
            Flag::integer,
            B::perDeviceTrainBatchSize),
        Flag.one(
            "gradient_accumulation_steps",
            Group.RUN,
            "COUNT",
            "Micro-batches in an optimizer step.",
            Flag::integer,
            B::gradientAccumulationSteps),
        Flag.one("seed", Group.RUN, "NUMBER", "Seed of shuffling.", Flag::longInteger, B::seed),
        Flag.one(
            "train_sampling_strategy",
            Group.RUN,
            "NAME",
            "Order of the rows: " + choices(SamplingStrategy.values()) + ".",
            Flag.choice(SamplingStrategy.class),
            B::trainSamplingStrategy),
        Flag.one(
            "logging_steps",
            Group.RUN,
            "STEPS",
            "Optimizer steps between two log lines; below 1: a share of all steps.",
            Flag::number,
            B::loggingSteps),
        Flag.toggle(
            "logging_first_step", Group.RUN, "Log the first step too.", B::loggingFirstStep),
        Flag.one(
            "save_strategy",
            Group.RUN,
            "NAME",
            "When to write output_dir/checkpoint-N, a model directory: "
                + choices(SaveStrategy.values())
                + ". The final model is always written.",
            Flag.choice(SaveStrategy.class),
            B::saveStrategy),
        Flag.one(
            "save_steps",
            Group.RUN,
            "STEPS",
            "Optimizer steps between two of them; below 1: a share of all steps.",
            Flag::number,
            B::saveSteps),
        Flag.one(
            "device",
            Group.DEVICE,
            "NAME",
            "Where to compute: auto, cpu, cuda or cuda:N.",
            Flag.named(Device::fromName),
            B::device),
        Flag.one(
            "attn_implementation",
            Group.DEVICE,
            "NAME",
            "Who computes attention: auto (the faster, measured once), gatun (any GPU, any model) or"
                + " cudnn (bf16 on sm_90 and sm_100).",
            Flag.choice(AttentionImplementation.class),
            B::attnImplementation),
        Flag.one(
            "threads",
            Group.DEVICE,
            "COUNT",
            "CPU threads; 0: all cores.",
            Flag::integer,
            B::threads),
        Flag.optional(
            "cuda_home",
            Group.DEVICE,
            "DIR",
            "Folder to look for NVIDIA's libraries in first.",
            Flag::path,
            B::cudaHome),
        Flag.toggle(
            "tf32",
            Group.DEVICE,
            "Let f32 matrix products on a GPU round their operands to TF32.",
            B::tf32),
        Flag.toggle(
            "debug_sync",
            Group.DEVICE,
            "Wait after every operation on a GPU, so that a failure names its cause; slow.",
            B::debugSync),
        Flag.one(
            "cuda_graphs",
            Group.DEVICE,
            "NAME",
            "Replay what repeats in a step on a GPU: auto (not while a profiler records, nor with"
                + " debug_sync), on or off. Results are the same.",
            Flag.choice(CudaOptions.Graphs.class),
            B::cudaGraphs),
        Flag.optional(
            "profile_steps",
            Group.DEVICE,
            "FIRST:LAST",
            "Steps that a profiler records, as in nsys profile -c cudaProfilerApi.",
            Flag.named(ProfileSteps::fromName),
            B::profileSteps),
        Flag.either(
            "bf16",
            Group.DEVICE,
            "Store weights and activations in bf16, with exact f32 master weights; false: in f32"
                + " where dtype is auto; none: as dtype says.",
            B::bf16,
            B::noBf16),
        Flag.toggle(
            "gradient_checkpointing",
            Group.DEVICE,
            "Recompute activations in the backward pass, to save memory.",
            B::gradientCheckpointing),
        Flag.one(
            "max_tokens_per_pack",
            Group.DEVICE,
            "TOKENS",
            "Longest pack computed at once; changes speed and memory, not results; 0: chosen from"
                + " the model's size.",
            Flag::integer,
            B::maxTokensPerPack));
  }

  /** The option that every command which computes has, save those that fix it. */
  static <B> Flag<B> dtype(BiConsumer<B, PrecisionChoice> setter) {
    return Flag.one(
        "dtype",
        Group.MODEL,
        "NAME",
        "Storage type of weights and activations: auto (bfloat16 where the device multiplies it in"
            + " hardware, else float32), float32 or bfloat16.",
        Flag.choice(PrecisionChoice.class),
        setter);
  }

  private static String choices(Object[] values) {
    return Arrays.stream(values).map(Object::toString).collect(Collectors.joining(", "));
  }
}
