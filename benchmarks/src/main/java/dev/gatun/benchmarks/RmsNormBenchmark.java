package dev.gatun.benchmarks;

import dev.gatun.op.RmsNorm;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.openjdk.jmh.annotations.AuxCounters;
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

/** rmsnorm over [tokens, hidden], beside the bytes that it cannot avoid moving. */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class RmsNormBenchmark {
  private static final float EPS = 1e-6f;

  @Param("2048")
  private int tokens;

  @Param({"576", "2048"})
  private int hidden;

  @Param({"F32", "BF16"})
  private DType dtype;

  /** 0: all cores. */
  @Param("0")
  private int threads;

  private OpTensors tensors;
  private Tensor x;
  private Tensor y;
  private Tensor weight;
  private Tensor rstd;
  private Tensor dX;
  private Tensor dY;
  private Tensor dWeight;

  /** Reported per second. */
  @AuxCounters
  @State(Scope.Thread)
  public static class Work {
    /** Of activations read and written; weights and statistics are small beside them. */
    public double gigabytes;
  }

  /** Allocates and fills. */
  @Setup(Level.Trial)
  public void open() {
    tensors = new OpTensors(threads);
    tensors.backend().reserveWorkspace(tokens, hidden);
    x = tensors.uniform("x", dtype, tokens, hidden);
    weight = tensors.uniform("weight", dtype, hidden);
    y = tensors.zeros("y", dtype, tokens, hidden);
    rstd = tensors.zeros("rstd", DType.F32, tokens);
    dY = tensors.uniform("dY", dtype, tokens, hidden);
    dX = tensors.zeros("dX", dtype, tokens, hidden);
    dWeight = tensors.zeros("dWeight", DType.F32, hidden);
    RmsNorm.forward(tensors.backend(), y, null, rstd, x, null, weight, EPS, 0);
  }

  /** Releases. */
  @TearDown(Level.Trial)
  public void close() {
    tensors.close();
  }

  /** Reads x, writes y. */
  @Benchmark
  public void forward(Work work) {
    RmsNorm.forward(tensors.backend(), y, null, rstd, x, null, weight, EPS, 0);
    work.gigabytes += 2e-9 * x.sizeBytes();
  }

  /** Reads dY and x, writes dX. */
  @Benchmark
  public void backward(Work work) {
    RmsNorm.backward(tensors.backend(), dX, dWeight, dY, x, weight, rstd, null, 0);
    work.gigabytes += 3e-9 * x.sizeBytes();
  }
}
