package dev.gatun.benchmarks;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.bench.OpCall;
import dev.gatun.bench.OpPass;
import dev.gatun.bench.OpSizes;
import dev.gatun.bench.OpStep;
import dev.gatun.bench.OpTensors;
import dev.gatun.tensor.DType;
import dev.gatun.train.ModelPreset;
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
 * Every op and matrix product, with the sizes that it has in a step of a model. {@code COPY} and
 * {@code COPY_MEMORY} are what the machine can do: gigabytes per second of a plain copy as large as
 * an activation, and of one that no cache holds.
 */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 1, time = 1)
@Measurement(iterations = 5, time = 1)
public class OpBenchmark {
  private static final OpSizes SIZES = new OpSizes(4, 180, 130, 512);

  @Param private OpPass pass;

  @Param({"SMALL_15M", "SMOLLM2_135M"})
  private ModelPreset model;

  @Param({"F32", "BF16"})
  private DType dtype;

  /** 0: all cores. */
  @Param("0")
  private int threads;

  private Backend backend;
  private OpTensors tensors;
  private OpCall call;

  /** Allocates and fills. */
  @Setup(Level.Trial)
  public void open() {
    backend = CpuBackend.create(new CpuOptions(threads, null));
    tensors = new OpTensors(backend);
    call = pass.prepare(new OpStep(tensors, model.config(), dtype, SIZES));
  }

  /** Releases. */
  @TearDown(Level.Trial)
  public void close() {
    tensors.close();
    backend.close();
  }

  /** One call. */
  @Benchmark
  public void run(Work work) {
    call.run().run();
    work.gigabytes += 1e-9 * call.bytes();
    work.gigaFlops += 1e-9 * call.flops();
  }
}
