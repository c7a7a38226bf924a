package dev.gatun.selftest;

import dev.gatun.op.LogProb;
import dev.gatun.op.reference.LogProbReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What {@link LogProb} must do. */
public final class LogProbContract {
  private LogProbContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int vocab :
        extent == Extent.QUICK
            ? new int[] {1, 17}
            : new int[] {1, 2, 7, 15, 16, 17, 63, 257, 2047, 2048, 2049, 32_003}) {
      for (float softcap : new float[] {0, 3}) {
        for (Place place : Place.values()) {
          String form = "[5, %d], softcap %s, dLogits %s".formatted(vocab, softcap, place);
          cases.add(new OpCase(form, bench -> check(bench, 5, vocab, softcap, place)));
        }
      }
    }
    return cases;
  }

  /** Both passes. */
  public static void check(Workbench bench, int rows, int vocab, float softcap, Place place) {
    bench.runs("logprob_forward");
    // The rows are a chunk: 2 predictions come before them. Row r has r % 3 predictions.
    int[] begin = new int[rows + 1];
    begin[0] = 2;
    for (int r = 0; r < rows; r++) {
      begin[r + 1] = begin[r] + r % 3;
    }
    int predictions = begin[rows] + 1;
    int[] targets = bench.random().ints(predictions, 0, vocab).toArray();
    double[] spread = bench.normals(rows * vocab);
    Arrays.setAll(spread, i -> 4 * spread[i]);
    Tensor logits = bench.given("logits", DType.F32, spread, rows, vocab);
    Tensor predictionBegin = bench.given("predictionBegin", begin);
    Tensor targetIds = bench.given("targets", targets);
    double[] untouched = new double[predictions];
    Arrays.fill(untouched, 7);
    Tensor logProb = bench.given("logProb", DType.F32, untouched, predictions);
    Tensor lse = bench.output("lse", DType.F32, rows);
    Tensor entropy = bench.output("entropy", DType.F32, rows);
    Tensor argmax = bench.output("argmax", DType.I32, rows);
    Tensor mean = bench.output("mean", DType.F32, rows);
    Tensor logSumSquare = bench.output("logSumSquare", DType.F32, rows);
    LogProb.forward(
        bench.backend(),
        logProb,
        lse,
        entropy,
        argmax,
        mean,
        logSumSquare,
        logits,
        predictionBegin,
        targetIds,
        softcap);

    double[] all = bench.values(logits);
    double[] expectedLogProb = untouched.clone();
    double[] expectedLse = new double[rows];
    double[] expectedEntropy = new double[rows];
    double[] expectedArgmax = new double[rows];
    double[] expectedMean = new double[rows];
    double[] expectedSquare = new double[rows];
    double[] expectedD = new double[rows * vocab];
    Tensor dLogProb = bench.normal("dLogProb", DType.F32, predictions);
    double[] d = bench.values(dLogProb);
    for (int r = 0; r < rows; r++) {
      double[] row = Arrays.copyOfRange(all, r * vocab, (r + 1) * vocab);
      double[] z = LogProbReference.capped(row, softcap);
      expectedLse[r] = LogProbReference.logSumExp(z);
      expectedEntropy[r] = LogProbReference.entropy(z);
      expectedMean[r] = Arrays.stream(z).sum() / vocab;
      expectedSquare[r] = LogProbReference.logSumSquare(z);
      expectedArgmax[r] = LogProbReference.argmax(row);
      int[] rowTargets = Arrays.copyOfRange(targets, begin[r], begin[r + 1]);
      for (int n = begin[r]; n < begin[r + 1]; n++) {
        expectedLogProb[n] = z[targets[n]] - expectedLse[r];
      }
      System.arraycopy(
          LogProbReference.backward(
              row, softcap, rowTargets, Arrays.copyOfRange(d, begin[r], begin[r + 1])),
          0,
          expectedD,
          r * vocab,
          vocab);
    }
    // Sums of vocab positive terms; each exponential has the error of its argument, below 64, and
    // tanh of a few roundings, times the cap.
    double largest = Workbench.largest(all);
    double roundings = vocab + 96;
    bench.assertClose(lse, expectedLse, roundings, 1);
    bench.assertClose(logProb, expectedLogProb, roundings, 1);
    bench.assertClose(entropy, expectedEntropy, roundings, 1 + largest);
    bench.assertClose(mean, expectedMean, roundings, largest / Math.sqrt(vocab) + 1);
    bench.assertClose(logSumSquare, expectedSquare, roundings, 2);
    bench.assertExact(argmax, expectedArgmax);

    Tensor lseOnly = bench.output("lseOnly", DType.F32, rows);
    Tensor logProbOnly = bench.given("logProbOnly", DType.F32, untouched, predictions);
    LogProb.forward(
        bench.backend(),
        logProbOnly,
        lseOnly,
        null,
        null,
        null,
        null,
        logits,
        predictionBegin,
        targetIds,
        softcap);
    bench.assertClose(lseOnly, expectedLse, roundings, 1);
    bench.assertClose(logProbOnly, expectedLogProb, roundings, 1);

    bench.runs("logprob_backward");
    double magnitude = 4 * Workbench.largest(d);
    if (place == Place.APART) {
      Tensor dLogits = bench.strided("dLogits", bench.dtype(), 1, 2, rows, vocab);
      LogProb.backward(
          bench.backend(), dLogits, logits, lse, dLogProb, predictionBegin, targetIds, softcap);
      bench.assertClose(dLogits, expectedD, roundings, magnitude);
    } else {
      long perFloat = DType.F32.sizeBytes() / bench.dtype().sizeBytes();
      Tensor over =
          logits
              .reinterpret("dLogits", bench.dtype(), rows, vocab * perFloat)
              .columns("dLogits", 0, vocab);
      LogProb.backward(
          bench.backend(), over, logits, lse, dLogProb, predictionBegin, targetIds, softcap);
      Tensor copy = bench.output("copy", bench.dtype(), rows, vocab);
      for (int r = 0; r < rows; r++) {
        bench.backend().copy(copy.rows(r, 1), over.rows(r, 1));
      }
      bench.assertClose(copy, expectedD, roundings, magnitude);
    }
  }
}
