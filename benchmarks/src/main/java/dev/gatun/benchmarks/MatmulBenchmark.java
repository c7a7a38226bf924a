package dev.gatun.benchmarks;

import dev.gatun.backend.Accumulate;
import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.Transpose;
import dev.gatun.bench.OpTensors;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
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

/** The three products of a linear layer with x [tokens, in] and weight [out, in]. */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class MatmulBenchmark {
  /**
   * tokens x in x out: q, k, v, attention's output, gate and up, down and head of a 15M and a 135M
   * model; and a square one, which is what the machine can do.
   */
  @Param({
    "1760x384x640",
    "1760x384x384",
    "1760x384x2048",
    "1760x1024x384",
    "1024x384x8192",
    "1760x576x960",
    "1760x576x576",
    "1760x576x3072",
    "1760x1536x576",
    "512x576x49152",
    "2048x2048x2048"
  })
  private String shape;

  @Param({"F32", "BF16"})
  private DType dtype;

  /** 0: all cores. */
  @Param("0")
  private int threads;

  private Backend backend;
  private OpTensors tensors;
  private double gigaFlops;
  private Tensor x;
  private Tensor weight;
  private Tensor y;
  private Tensor dX;
  private Tensor dWeight;

  /** Allocates and fills. */
  @Setup(Level.Trial)
  public void open() {
    long[] extents = Arrays.stream(shape.split("x", -1)).mapToLong(Long::parseLong).toArray();
    long rows = extents[0];
    long in = extents[1];
    long out = extents[2];
    gigaFlops = 2e-9 * rows * in * out;
    backend = CpuBackend.create(new CpuOptions(threads, null));
    tensors = new OpTensors(backend);
    x = tensors.uniform("x", dtype, rows, in);
    weight = tensors.uniform("weight", dtype, out, in);
    y = tensors.uniform("y", dtype, rows, out);
    dX = tensors.zeros("dX", dtype, rows, in);
    dWeight = tensors.zeros("dWeight", DType.F32, out, in);
  }

  /** Releases. */
  @TearDown(Level.Trial)
  public void close() {
    tensors.close();
    backend.close();
  }

  /** y = x weight'. */
  @Benchmark
  public void forward(Work work) {
    backend.matmul(y, x, Transpose.NO, weight, Transpose.YES, null, Accumulate.OVERWRITE);
    work.gigaFlops += gigaFlops;
  }

  /** dX = dY weight. */
  @Benchmark
  public void backwardInput(Work work) {
    backend.matmul(dX, y, Transpose.NO, weight, Transpose.NO, null, Accumulate.OVERWRITE);
    work.gigaFlops += gigaFlops;
  }

  /** dWeight += dY' x, in f32. */
  @Benchmark
  public void backwardWeight(Work work) {
    backend.matmul(dWeight, y, Transpose.YES, x, Transpose.NO, null, Accumulate.ADD);
    work.gigaFlops += gigaFlops;
  }
}
