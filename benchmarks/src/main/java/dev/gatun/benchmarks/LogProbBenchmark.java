package dev.gatun.benchmarks;

import dev.gatun.op.LogProb;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.stream.IntStream;
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

/** logprob over logits [rows, vocab], one prediction a row, beside the bytes that it must move. */
@State(Scope.Benchmark)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class LogProbBenchmark {
  @Param("512")
  private int rows;

  @Param({"32000", "128256"})
  private int vocab;

  /** 0: all cores. */
  @Param("0")
  private int threads;

  private OpTensors tensors;
  private Tensor logits;
  private Tensor dLogits;
  private Tensor lse;
  private Tensor entropy;
  private Tensor argmax;
  private Tensor logProb;
  private Tensor dLogProb;
  private Tensor predictionBegin;
  private Tensor targets;

  /** Reported per second. */
  @AuxCounters
  @State(Scope.Thread)
  public static class Work {
    /** Of logits and their gradient. */
    public double gigabytes;
  }

  /** Allocates and fills. */
  @Setup(Level.Trial)
  public void open() {
    tensors = new OpTensors(threads);
    tensors.backend().reserveWorkspace(rows, vocab);
    logits = tensors.uniform("logits", DType.F32, rows, vocab);
    dLogits = tensors.zeros("dLogits", DType.F32, rows, vocab);
    lse = tensors.zeros("lse", DType.F32, rows);
    entropy = tensors.zeros("entropy", DType.F32, rows);
    argmax = tensors.zeros("argmax", DType.I32, rows);
    logProb = tensors.zeros("logProb", DType.F32, rows);
    dLogProb = tensors.uniform("dLogProb", DType.F32, rows);
    predictionBegin = tensors.integers("predictionBegin", IntStream.rangeClosed(0, rows).toArray());
    targets = tensors.integers("targets", IntStream.range(0, rows).map(i -> i % vocab).toArray());
    scoreRows();
  }

  /** Releases. */
  @TearDown(Level.Trial)
  public void close() {
    tensors.close();
  }

  /** Reads the logits once. */
  @Benchmark
  public void forward(Work work) {
    scoreRows();
    work.gigabytes += 1e-9 * logits.sizeBytes();
  }

  /** Reads the logits, writes their gradient. */
  @Benchmark
  public void backward(Work work) {
    LogProb.backward(
        tensors.backend(), dLogits, logits, lse, dLogProb, predictionBegin, targets, 0);
    work.gigabytes += 2e-9 * logits.sizeBytes();
  }

  private void scoreRows() {
    LogProb.forward(
        tensors.backend(),
        logProb,
        lse,
        entropy,
        argmax,
        null,
        null,
        logits,
        predictionBegin,
        targets,
        0);
  }
}
