package dev.gatun.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaOptions;
import dev.gatun.backend.Results;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.model.PackedBatch.Sequence;
import dev.gatun.preference.LikelihoodObjective;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sharing a prompt, and caching keys and values, change nothing but the work. */
class DecoderTest {
  private static final Path MODELS = Path.of("src/test/resources/goldens/models");

  private static int[] random(Random random, int length) {
    return random.ints(length, 0, 512).toArray();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama",
        "tiny-llama-rope3",
        "tiny-mistral",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-gemma2",
        "tiny-gpt2"
      })
  void aSharedPromptGivesTheGradientsOfTwoWholeTexts(String name) {
    Random random = new Random(1);
    int[] prompt = random(random, 37);
    int[] chosen = random(random, 19);
    int[] rejected = random(random, 42);
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Loaded model = Loaded.open(backend, name)) {
      float[] shared = model.gradients(List.of(new Sequence(prompt, List.of(chosen, rejected))));
      float[] apart =
          model.gradients(
              List.of(
                  new Sequence(prompt, List.of(chosen)), new Sequence(prompt, List.of(rejected))));
      // Another order of some sums over about 100 rows: a few f32 roundings.
      assertTrue(distance(shared, apart) < 1e-6, () -> name + ": " + distance(shared, apart));
    }
  }

  /**
   * log p(C | P) + log p(P | its first token) = log p(P, C | its first token): the last layer
   * computes on only the last row of P on the left, on all of them on the right.
   */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "tiny-llama",
        "tiny-mistral",
        "tiny-qwen2",
        "tiny-qwen3",
        "tiny-gemma2",
        "tiny-gpt2"
      })
  void rowsThatPredictNothingAreNotMissed(String name) {
    Random random = new Random(3);
    int[] first = random(random, 1);
    int[] rest = random(random, 40);
    int[] answer = random(random, 23);
    int[] prompt = concat(first, rest);
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Loaded model = Loaded.open(backend, name)) {
      float[] parts =
          model.gradients(
              List.of(new Sequence(prompt, List.of(answer)), new Sequence(first, List.of(rest))));
      float[] whole = model.gradients(List.of(new Sequence(first, List.of(concat(rest, answer)))));
      // As above.
      assertTrue(distance(parts, whole) < 1e-6, () -> name + ": " + distance(parts, whole));
    }
  }

  /** The same arithmetic, whatever is kept. */
  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2"})
  void recomputedActivationsGiveTheSameBits(String name) {
    Random random = new Random(4);
    List<Sequence> sequences =
        List.of(
            new Sequence(random(random, 21), List.of(random(random, 17), random(random, 5))),
            new Sequence(random(random, 2), List.of(random(random, 1), random(random, 33))));
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Loaded model = Loaded.open(backend, name)) {
      float[] kept = model.gradients(sequences, Activations.Policy.KEEP);
      for (Activations.Policy policy :
          EnumSet.complementOf(EnumSet.of(Activations.Policy.KEEP, Activations.Policy.DISCARD))) {
        assertArrayEquals(kept, model.gradients(sequences, policy), () -> name + " " + policy);
      }
    }
  }

  @Test
  void aBatchThatPredictsNothingHasNoGradient() {
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Loaded model = Loaded.open(backend, "tiny-llama")) {
      float[] none =
          model.gradients(
              List.of(new Sequence(random(new Random(5), 7), List.of(new int[0], new int[0]))));
      assertArrayEquals(new float[none.length], none);
    }
  }

  private static int[] concat(int[] a, int[] b) {
    int[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }

  /** |a - b| / |b| */
  private static double distance(float[] a, float[] b) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < a.length; i++) {
      difference += Math.pow((double) a[i] - b[i], 2);
      norm += Math.pow(b[i], 2);
    }
    assertTrue(norm > 0);
    return Math.sqrt(difference / norm);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-mistral", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2"})
  void aCacheGivesTheTokensOfWholePasses(String name) {
    Random random = new Random(2);
    List<int[]> prompts = List.of(random(random, 9), random(random, 1), random(random, 30));
    try (CpuBackend backend = CpuBackend.create(new CpuOptions(1, null));
        Loaded model = Loaded.open(backend, name)) {
      Generator generator = new Generator(backend, model.config, model.weights);
      List<int[]> together = generator.generate(prompts, GenerationOptions.greedy(12));
      for (int i = 0; i < prompts.size(); i++) {
        // One token at a time from the whole text so far: nothing is read from a cache.
        int[] text = prompts.get(i);
        for (int token : together.get(i)) {
          int next = generator.generate(List.of(text), GenerationOptions.greedy(1)).getFirst()[0];
          assertEquals(next, token, name + ", prompt " + i + " at " + text.length);
          text = Arrays.copyOf(text, text.length + 1);
          text[text.length - 1] = token;
        }
      }
      GenerationOptions sampled = new GenerationOptions(8, 1.0, 50, 0.9, 7);
      assertArrayEquals(
          generator.generate(prompts, sampled).getFirst(),
          generator.generate(prompts.subList(0, 1), sampled).getFirst(),
          "a prompt's sample does not depend on its neighbours");
      assertThrows(
          IllegalArgumentException.class,
          () -> generator.generate(List.of(new int[0]), GenerationOptions.greedy(1)));
    }
  }

  /** Token by token, at one length of the cache after another, the passes of a GPU are replayed. */
  @Test
  void generationIsReplayed() {
    Random random = new Random(4);
    List<int[]> prompts = List.of(random(random, 9), random(random, 3));
    GenerationOptions options = new GenerationOptions(16, 1.0, 50, 0.9, 7);
    List<List<int[]>> texts = new ArrayList<>();
    for (CudaOptions.Graphs graphs : List.of(CudaOptions.Graphs.OFF, CudaOptions.Graphs.ON)) {
      try (Backend backend =
              CudaBackend.create(CudaOptions.DEFAULT.withCacheFolder(null).withGraphs(graphs));
          Loaded model = Loaded.open(backend, "tiny-llama")) {
        texts.add(new Generator(backend, model.config, model.weights).generate(prompts, options));
        if (graphs == CudaOptions.Graphs.ON) {
          String summary = backend.summary().getFirst();
          assertTrue(summary.matches(".*replayed [1-9].*"), summary);
        }
      }
    }
    for (int i = 0; i < prompts.size(); i++) {
      assertArrayEquals(texts.getFirst().get(i), texts.getLast().get(i));
    }
  }

  /**
   * Rows that stand for nothing change no gradient: not a bit, whatever token they hold, and
   * against none only by where sums over rows are cut.
   */
  @ParameterizedTest
  @ValueSource(strings = {"tiny-llama", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2"})
  void paddingAddsNothing(String name) {
    Random random = new Random(3);
    List<Sequence> sequences =
        List.of(
            new Sequence(random(random, 9), List.of(random(random, 21))),
            new Sequence(random(random, 30), List.of(random(random, 4))),
            new Sequence(random(random, 1), List.of(random(random, 17))));
    for (Backend each :
        List.of(
            CpuBackend.create(new CpuOptions(1, null)),
            CudaBackend.create(CudaOptions.DEFAULT.withCacheFolder(null)))) {
      try (Backend backend = each;
          Loaded model = Loaded.open(backend, name)) {
        PackedBatch exact = PackedBatch.of(sequences);
        PackedBatch padded = BatchRounding.REPEATING.apply(exact);
        PackedBatch other = BatchRounding.REPEATING.apply(exact);
        assertTrue(padded.paddingTokens() > 0);
        for (int i = other.numSequenceTokens(); i < other.numTokens(); i++) {
          other.tokenIds()[i] = 1 + random.nextInt(100);
          other.positions()[i] = random.nextInt(100);
        }
        float[] gradients = model.gradientsOf(List.of(padded), Activations.Policy.KEEP);
        assertArrayEquals(
            gradients,
            model.gradientsOf(List.of(other), Activations.Policy.RECOMPUTE),
            backend.name());
        assertTrue(
            distance(gradients, model.gradientsOf(List.of(exact), Activations.Policy.KEEP)) < 1e-6);
      }
    }
  }

  private record Loaded(
      Backend backend, ModelConfig config, Parameters weights, Parameters gradients)
      implements AutoCloseable {
    static Loaded open(Backend backend, String name) {
      Path path = MODELS.resolve(name);
      ModelConfig config = ModelConfig.read(path.resolve("config.json"));
      ParameterLayout layout = ParameterLayout.of(config);
      Parameters weights = new Parameters(backend, "weights", layout, DType.F32);
      try (ModelDirectory directory = ModelDirectory.open(path)) {
        WeightFiles.read(backend, directory, weights);
      }
      return new Loaded(
          backend, config, weights, new Parameters(backend, "gradients", layout, DType.F32));
    }

    /** Gradients of the log-likelihood of all answers, each sequence in a batch of its own. */
    float[] gradients(List<Sequence> sequences) {
      return gradients(sequences, Activations.Policy.KEEP);
    }

    float[] gradients(List<Sequence> sequences, Activations.Policy policy) {
      return gradientsOf(
          sequences.stream().map(sequence -> PackedBatch.of(List.of(sequence))).toList(), policy);
    }

    /** Gradients of the log-likelihood of all answers. */
    float[] gradientsOf(List<PackedBatch> batches, Activations.Policy policy) {
      backend.zero(gradients.all());
      try (Decoder decoder = new Decoder(backend, config, 512)) {
        LikelihoodObjective objective = new LikelihoodObjective(backend, decoder, 16);
        for (PackedBatch batch : batches) {
          BatchShape shape = LikelihoodObjective.shape(batch, 16);
          Slab planner = Slab.planner();
          DeviceBatch.plan(planner, shape);
          LikelihoodObjective.plan(planner, new ModelTensors(config), DType.F32, policy, shape);
          Slab resultsPlanner = Slab.planner();
          LikelihoodObjective.planResults(resultsPlanner, shape);
          backend.reserveWorkspace(shape.keyRows(), 1024);
          try (Slab slab = new Slab(backend.allocate("step", planner.highWaterBytes()));
              Results results = new Results(backend, resultsPlanner.highWaterBytes())) {
            objective.accumulate(
                DecoderParameters.of(weights, config),
                DecoderParameters.of(gradients, config),
                DeviceBatch.upload(backend, slab, batch),
                1,
                policy,
                slab,
                results);
          }
        }
      }
      return backend.downloadF32(gradients.all());
    }

    @Override
    public void close() {
      weights.close();
      gradients.close();
    }
  }
}
