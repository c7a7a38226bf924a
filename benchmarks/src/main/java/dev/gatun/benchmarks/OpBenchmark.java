package dev.gatun.benchmarks;

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
 * Every pass of the kernel table, with the sizes that it has in a step of a model. {@code COPY} and
 * {@code COPY_MEMORY} are what the machine can do: gigabytes per second of a plain copy as large as
 * an activation, and of one that no cache holds.
 */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 1, time = 1)
@Measurement(iterations = 5, time = 1)
public class OpBenchmark {
  @Param private OpPass pass;

  @Param({"SMALL_15M", "SMOLLM2_135M"})
  private ModelPreset model;

  @Param({"F32", "BF16"})
  private DType dtype;

  /** 0: all cores. */
  @Param("0")
  private int threads;

  private OpTensors tensors;
  private OpPass.Call call;

  /** Allocates and fills. */
  @Setup(Level.Trial)
  public void open() {
    tensors = new OpTensors(threads);
    call = pass.prepare(new OpStep(tensors, model.config(), dtype));
  }

  /** Releases. */
  @TearDown(Level.Trial)
  public void close() {
    tensors.close();
  }

  /** One call. */
  @Benchmark
  public void run(Work work) {
    call.run().run();
    work.gigabytes += 1e-9 * call.bytes();
    work.gigaFlops += 1e-9 * call.flops();
  }
}
