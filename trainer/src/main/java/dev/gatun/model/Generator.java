package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.memory.Buffer;
import dev.gatun.op.Linear;
import dev.gatun.op.WeightLayout;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Continues prompts token by token, several at a time, with a key-value cache. It runs the training
 * kernels: a prompt is one attention segment, and each new token one more with a single query.
 */
public final class Generator {
  /** Prompts that are continued together. */
  private static final int PROMPTS_AT_ONCE = 64;

  private final Backend backend;
  private final ModelConfig config;
  private final DecoderParameters weights;
  private final DType dtype;

  public Generator(Backend backend, ModelConfig config, Parameters parameters) {
    this.backend = backend;
    this.config = config;
    this.weights = DecoderParameters.of(parameters, config);
    this.dtype = parameters.dtype();
  }

  /**
   * Token ids that follow each prompt, in order; an end-of-sequence token that stopped one is
   * included.
   *
   * @param prompts each at least one token
   */
  public List<int[]> generate(List<int[]> prompts, GenerationOptions options) {
    for (int[] prompt : prompts) {
      long length = (long) prompt.length + options.maxNewTokens();
      if (prompt.length == 0 || length > config.maxPositions()) {
        throw new IllegalArgumentException(
            "prompt of %d tokens and max_new_tokens %d: expected 1 to %d positions in all"
                .formatted(prompt.length, options.maxNewTokens(), config.maxPositions()));
      }
    }
    List<int[]> results = new ArrayList<>();
    for (int begin = 0; begin < prompts.size(); begin += PROMPTS_AT_ONCE) {
      int end = Math.min(prompts.size(), begin + PROMPTS_AT_ONCE);
      try (Batch batch = new Batch(prompts.subList(begin, end), begin, options)) {
        results.addAll(batch.run());
      }
    }
    return results;
  }

  /** One prompt and what has been generated for it. */
  private static final class Line {
    final int[] tokens;
    final int promptLength;
    final int cacheBegin;
    final TokenSampler sampler;
    int length;
    int cached;

    Line(int[] prompt, int cacheBegin, GenerationOptions options, int index) {
      this.tokens = Arrays.copyOf(prompt, prompt.length + options.maxNewTokens());
      this.promptLength = prompt.length;
      this.length = prompt.length;
      this.cacheBegin = cacheBegin;
      this.sampler = new TokenSampler(options, index);
    }

    int[] generated() {
      return Arrays.copyOfRange(tokens, promptLength, length);
    }
  }

  /** Prompts that share a cache. */
  private final class Batch implements AutoCloseable {
    private final List<Line> lines = new ArrayList<>();
    private final Set<Integer> ends = Set.copyOf(config.eosTokenIds());
    private final Decoder decoder;
    private final KeyValueCache cache;
    private final Buffer scratch;
    private final int cacheRows;

    Batch(List<int[]> prompts, int firstIndex, GenerationOptions options) {
      int rows = 0;
      int longest = 0;
      int promptTokens = 0;
      for (int i = 0; i < prompts.size(); i++) {
        Line line = new Line(prompts.get(i), rows, options, firstIndex + i);
        lines.add(line);
        rows += line.tokens.length;
        longest = Math.max(longest, line.tokens.length);
        promptTokens += line.promptLength;
      }
      cacheRows = rows;
      decoder = new Decoder(backend, config, longest);
      cache = new KeyValueCache(backend, config, dtype, rows);
      Slab planner = Slab.planner();
      DeviceBatch.plan(
          planner,
          new BatchShape(
              promptTokens,
              rows,
              prompts.size(),
              0,
              0,
              0,
              prompts.size(),
              longest,
              prompts.size()));
      new Pass(planner, promptTokens, prompts.size());
      scratch = backend.allocate("generation", planner.highWaterBytes());
      backend.reserveWorkspace(
          Math.max(promptTokens, prompts.size()),
          Math.max(config.vocabSize(), LayerParameters.gateUpWidth(config)));
    }

    List<int[]> run() {
      List<Line> active = new ArrayList<>(lines);
      while (!active.isEmpty()) {
        float[] logits = next(active);
        int vocab = config.vocabSize();
        for (int i = 0; i < active.size(); i++) {
          Line line = active.get(i);
          line.tokens[line.length++] = line.sampler.next(logits, i * vocab, vocab);
        }
        active.removeIf(
            line ->
                line.length == line.tokens.length || ends.contains(line.tokens[line.length - 1]));
      }
      return lines.stream().map(Line::generated).toList();
    }

    /** Logits {@code [active, vocab]} behind each line's last token; caches what was not yet. */
    private float[] next(List<Line> active) {
      int tokens = active.stream().mapToInt(line -> line.length - line.cached).sum();
      int[] ids = new int[tokens];
      int[] positions = new int[tokens];
      int[] keyRows = new int[tokens];
      int[] segments = new int[4 * active.size()];
      int token = 0;
      for (int s = 0; s < active.size(); s++) {
        Line line = active.get(s);
        int count = line.length - line.cached;
        int[] segment = {token, count, line.cacheBegin, line.length};
        System.arraycopy(segment, 0, segments, 4 * s, 4);
        for (int position = line.cached; position < line.length; position++) {
          ids[token] = line.tokens[position];
          positions[token] = position;
          keyRows[token] = line.cacheBegin + position;
          token++;
        }
        line.cached = line.length;
      }
      Slab slab = new Slab(scratch);
      DeviceBatch batch =
          DeviceBatch.upload(
              backend, slab, PackedBatch.cached(ids, positions, keyRows, cacheRows, segments));
      Tensor logits = new Pass(slab, tokens, active.size()).run(batch);
      float[] values = backend.downloadF32(logits);
      softcap(values);
      return values;
    }

    /** The tensors of one forward pass. */
    private final class Pass {
      private final Activations activations;
      private final Tensor stream;
      private final Tensor normed;
      private final Norm.Saved saved;
      private final Tensor logits;

      Pass(Slab slab, int tokens, int rows) {
        activations = decoder.activations(slab, dtype, tokens, rows, cache);
        stream = slab.allocate("stream", dtype, rows, config.hiddenSize());
        normed = slab.allocate("normed", dtype, rows, config.hiddenSize());
        saved = Norm.Saved.allocate(slab, config, "final norm", rows);
        logits = slab.allocate("logits", DType.F32, rows, config.vocabSize());
      }

      /** Logits {@code [rows, vocab]} of the batch's rows. */
      Tensor run(DeviceBatch batch) {
        decoder.forward(weights, batch, activations);
        decoder
            .norm()
            .forward(
                normed,
                stream,
                saved,
                decoder.middle(activations),
                decoder.delta(activations),
                weights.finalNorm());
        Linear.forward(backend, logits, normed, weights.head(), null, WeightLayout.OUT_IN);
        return logits;
      }
    }

    private void softcap(float[] logits) {
      float cap = config.finalLogitSoftcap();
      if (cap > 0) {
        for (int i = 0; i < logits.length; i++) {
          logits[i] = cap * (float) Math.tanh(logits[i] / cap);
        }
      }
    }

    @Override
    public void close() {
      scratch.close();
      cache.close();
      decoder.close();
    }
  }
}
