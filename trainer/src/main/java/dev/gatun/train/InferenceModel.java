package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.hf.AddSpecialTokens;
import dev.gatun.hf.SkipSpecialTokens;
import dev.gatun.model.BatchShape;
import dev.gatun.model.Decoder;
import dev.gatun.model.DecoderParameters;
import dev.gatun.model.DeviceBatch;
import dev.gatun.model.GenerationOptions;
import dev.gatun.model.Generator;
import dev.gatun.model.ModelTensors;
import dev.gatun.model.PackedBatch;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.WeightFiles;
import dev.gatun.preference.PairObjective;
import dev.gatun.preference.Scorer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/** A model directory that was loaded to generate and to score texts. */
public final class InferenceModel implements AutoCloseable {
  private static final int TOKENS_PER_PACK = 4096;

  private final Backend backend;
  private final TrainingSetup.Source source;
  private final Parameters parameters;

  private InferenceModel(Backend backend, TrainingSetup.Source source, Parameters parameters) {
    this.backend = backend;
    this.source = source;
    this.parameters = parameters;
  }

  /** Loads a model; the backend stays the caller's. */
  public static InferenceModel open(Path directory, Backend backend, Precision precision) {
    TrainingSetup.Source source = TrainingSetup.Source.open(directory);
    Parameters parameters =
        new Parameters(
            backend, "weights", ParameterLayout.of(source.config()), Policy.dtype(precision));
    WeightFiles.read(backend, source.directory(), parameters);
    return new InferenceModel(backend, source, parameters);
  }

  /** Texts that follow each prompt, without special tokens. */
  public List<String> generate(List<String> prompts, GenerationOptions options) {
    return sample(prompts, options).stream().map(this::answer).toList();
  }

  /**
   * The prompts with one generated answer each, as the tokens that were drawn; {@link #logProbs} of
   * them are those of the samples, which a text that is tokenized again may not give.
   */
  public List<PackedBatch.Sequence> sample(List<String> prompts, GenerationOptions options) {
    List<int[]> ids =
        prompts.stream()
            .map(prompt -> source.tokenizer().encode(prompt, AddSpecialTokens.YES))
            .toList();
    List<int[]> answers =
        new Generator(backend, source.config(), parameters).generate(ids, options);
    List<PackedBatch.Sequence> samples = new ArrayList<>();
    for (int i = 0; i < ids.size(); i++) {
      samples.add(new PackedBatch.Sequence(ids.get(i), List.of(answers.get(i))));
    }
    return samples;
  }

  /** The text of a sequence's only answer, without special tokens. */
  public String answer(PackedBatch.Sequence sequence) {
    return source.tokenizer().decode(sequence.answers().getFirst(), SkipSpecialTokens.YES);
  }

  /**
   * Log-probability, in nats, of each answer after its prompt.
   *
   * @param sequences one answer each
   */
  public List<Double> logProbs(List<PackedBatch.Sequence> sequences) {
    List<Double> sums = new ArrayList<>();
    int begin = 0;
    while (begin < sequences.size()) {
      int end = begin;
      int tokens = 0;
      while (end < sequences.size()
          && (end == begin || tokens + sequences.get(end).numTokens() <= TOKENS_PER_PACK)) {
        tokens += sequences.get(end++).numTokens();
      }
      sums.addAll(score(PackedBatch.of(sequences.subList(begin, end))));
      begin = end;
    }
    return sums;
  }

  /** A prompt and an answer as tokens, the answer ended by the end-of-text token. */
  public PackedBatch.Sequence sequence(String prompt, String answer) {
    int[] promptIds = source.tokenizer().encode(prompt, AddSpecialTokens.YES);
    int[] all = source.tokenizer().encode(prompt + answer, AddSpecialTokens.YES);
    OptionalInt end = source.tokenizer().eosTokenId();
    int[] answerIds =
        Arrays.copyOfRange(all, promptIds.length, all.length + (end.isPresent() ? 1 : 0));
    end.ifPresent(id -> answerIds[answerIds.length - 1] = id);
    return new PackedBatch.Sequence(promptIds, List.of(answerIds));
  }

  private List<Double> score(PackedBatch packed) {
    int chunkRows = TrainingSetup.Portion.of(backend).logitRows(source.config());
    DType dtype = parameters.dtype();
    BatchShape shape = PairObjective.shape(packed, chunkRows);
    try (Decoder decoder = new Decoder(backend, source.config(), shape.tokens())) {
      Scorer scorer = new Scorer(backend, decoder, chunkRows);
      Slab planner = Slab.planner();
      DeviceBatch.plan(planner, shape);
      planner.allocate("log-probs", DType.F32, shape.predictions());
      Scorer.plan(planner, new ModelTensors(source.config()), dtype, shape);
      TrainingSetup.reserveWorkspace(backend, source.config(), shape);
      try (Slab slab = new Slab(backend.allocate("score", planner.highWaterBytes()))) {
        DeviceBatch batch = DeviceBatch.upload(backend, slab, packed);
        Tensor logProbs = slab.allocate("log-probs", DType.F32, packed.numPredictions());
        scorer.score(DecoderParameters.of(parameters, source.config()), batch, slab, logProbs);
        float[] values = backend.downloadF32(logProbs);
        List<Double> sums = new ArrayList<>();
        for (int i = 0; i < packed.numSequences(); i++) {
          double sum = 0;
          for (int n = packed.answerBegin()[i]; n < packed.answerBegin()[i + 1]; n++) {
            sum += values[n];
          }
          sums.add(sum);
        }
        return sums;
      }
    }
  }

  /** Frees the weights. */
  @Override
  public void close() {
    parameters.close();
    source.close();
  }
}
