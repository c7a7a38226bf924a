package dev.gatun.benchmarks;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.hf.AddSpecialTokens;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.Tokenizer;
import dev.gatun.model.PackedBatch;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.WeightFiles;
import dev.gatun.tensor.DType;
import dev.gatun.train.ModelInit;
import dev.gatun.train.ModelPreset;
import dev.gatun.train.NewTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What happens around the steps: texts become tokens, tokens become packed batches, weights come
 * from safetensors files and go to them. Files are in the system's temporary folder; what is read
 * is in the page cache, what is written is on the disk when the call returns.
 */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 1, time = 1)
@Measurement(iterations = 5, time = 1)
public class FilesBenchmark {
  private static final long SEED = 5;
  private static final int TEXTS = 256;
  private static final int WORDS = 150;

  /** Of the weights in memory; those in the files are f32. */
  @Param({"F32", "BF16"})
  private DType dtype;

  private Path folder;
  private Path model;
  private Backend backend;
  private Tokenizer tokenizer;
  private List<String> texts;
  private List<PackedBatch.Sequence> pairs;
  private Parameters parameters;
  private int saves;

  /** Makes a model, texts and pairs. */
  @Setup(Level.Trial)
  public void open() throws IOException {
    folder = Files.createTempDirectory("gatun-benchmark");
    model = folder.resolve("model");
    SplittableRandom random = new SplittableRandom(SEED);
    List<String> words = Stream.generate(() -> word(random)).limit(2000).toList();
    texts = Stream.generate(() -> text(random, words)).limit(TEXTS).toList();
    Path corpus = Files.write(folder.resolve("corpus"), texts);
    ModelInit.write(
        ModelPreset.SMALL_15M.shape(), new NewTokenizer.Trained(List.of(corpus), 2048), 1, model);
    tokenizer = Tokenizer.open(model);
    backend = CpuBackend.create(new CpuOptions(0, null));
    ModelConfig config = ModelConfig.read(model.resolve("config.json"));
    parameters = new Parameters(backend, "weights", ParameterLayout.of(config), dtype);
    pairs = new ArrayList<>();
    for (int i = 0; i + 2 < TEXTS; i += 3) {
      pairs.add(
          new PackedBatch.Sequence(
              encode(texts.get(i)), List.of(encode(texts.get(i + 1)), encode(texts.get(i + 2)))));
    }
  }

  private int[] encode(String text) {
    return tokenizer.encode(text, AddSpecialTokens.NO);
  }

  private static String word(SplittableRandom random) {
    return random
        .ints(random.nextInt(2, 10), 'a', 'z' + 1)
        .mapToObj(Character::toString)
        .collect(Collectors.joining());
  }

  private static String text(SplittableRandom random, List<String> words) {
    return random
        .ints(WORDS, 0, words.size())
        .mapToObj(words::get)
        .collect(Collectors.joining(" "));
  }

  /** Releases, and deletes the files. */
  @TearDown(Level.Trial)
  public void close() throws IOException {
    tokenizer.close();
    parameters.close();
    backend.close();
    delete(folder);
  }

  private static void delete(Path tree) throws IOException {
    try (Stream<Path> files = Files.walk(tree)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  /** Texts to ids, by all cores. */
  @Benchmark
  public List<int[]> tokenize(Work work) {
    List<int[]> ids =
        tokenizer.encodeAll(
            texts, AddSpecialTokens.YES, Runtime.getRuntime().availableProcessors());
    work.megaTokens += 1e-6 * ids.stream().mapToInt(text -> text.length).sum();
    return ids;
  }

  /** Pairs to one packed batch, on the host. */
  @Benchmark
  public PackedBatch pack(Work work) {
    PackedBatch packed = PackedBatch.of(pairs);
    work.megaTokens += 1e-6 * packed.numTokens();
    return packed;
  }

  /** A model directory to the device's memory. */
  @Benchmark
  public void readWeights(Work work) {
    try (ModelDirectory directory = ModelDirectory.open(model)) {
      WeightFiles.read(backend, directory, parameters);
    }
    work.gigabytes += 1e-9 * Float.BYTES * parameters.layout().parameterCount();
  }

  /** The device's memory to a model directory; the one before it is deleted. */
  @Benchmark
  public void writeWeights(Work work) throws IOException {
    Path output = folder.resolve("saved" + saves++);
    try (ModelDirectory directory = ModelDirectory.open(model)) {
      WeightFiles.write(backend, parameters, directory, output);
    }
    work.gigabytes += 1e-9 * dtype.sizeBytes() * parameters.layout().parameterCount();
    delete(output);
  }
}
