package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.op.reference.LogProbReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class LogProbTest {
  /** Around vector widths, and around the kernel's block of 2048. */
  private static final int[] VOCABULARIES = {1, 2, 7, 15, 16, 17, 63, 257, 2047, 2048, 2049, 5003};

  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int vocab : VOCABULARIES) {
      for (double softcap : new double[] {0, 3}) {
        for (Place place : Place.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            check(device, 5, vocab, (float) softcap, place);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> check(device, 67, 3001, 0, Place.APART));
  }

  /** Where dLogits goes. */
  private enum Place {
    APART,
    OVER_LOGITS
  }

  private static void check(TestDevice device, int rows, int vocab, float softcap, Place place) {
    // The rows are a chunk: 2 predictions come before them. Row r has r % 3 predictions.
    int[] begin = new int[rows + 1];
    begin[0] = 2;
    for (int r = 0; r < rows; r++) {
      begin[r + 1] = begin[r] + r % 3;
    }
    int predictions = begin[rows] + 1;
    int[] targets = device.random().ints(predictions, 0, vocab).toArray();
    double[] spread = device.normals(rows * vocab);
    Arrays.setAll(spread, i -> 4 * spread[i]);
    Tensor logits = device.given("logits", DType.F32, spread, rows, vocab);
    Tensor predictionBegin = device.given("predictionBegin", begin);
    Tensor targetIds = device.given("targets", targets);
    double[] untouched = new double[predictions];
    Arrays.fill(untouched, 7);
    Tensor logProb = device.given("logProb", DType.F32, untouched, predictions);
    Tensor lse = device.output("lse", DType.F32, rows);
    Tensor entropy = device.output("entropy", DType.F32, rows);
    Tensor argmax = device.output("argmax", DType.I32, rows);
    Tensor mean = device.output("mean", DType.F32, rows);
    Tensor logSumSquare = device.output("logSumSquare", DType.F32, rows);
    LogProb.forward(
        device.backend(),
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

    double[] all = device.values(logits);
    double[] expectedLogProb = untouched.clone();
    double[] expectedLse = new double[rows];
    double[] expectedEntropy = new double[rows];
    double[] expectedArgmax = new double[rows];
    double[] expectedMean = new double[rows];
    double[] expectedSquare = new double[rows];
    double[] expectedD = new double[rows * vocab];
    Tensor dLogProb = device.normal("dLogProb", DType.F32, predictions);
    double[] d = device.values(dLogProb);
    for (int r = 0; r < rows; r++) {
      double[] row = Arrays.copyOfRange(all, r * vocab, (r + 1) * vocab);
      double[] z = LogProbReference.capped(row, softcap);
      expectedLse[r] = LogProbReference.logSumExp(z);
      expectedEntropy[r] = LogProbReference.entropy(z);
      expectedMean[r] = Arrays.stream(z).sum() / vocab;
      expectedSquare[r] = LogProbReference.logSumSquare(z);
      for (int j = 1; j < vocab; j++) {
        expectedArgmax[r] = row[j] > row[(int) expectedArgmax[r]] ? j : expectedArgmax[r];
      }
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
    double largest = TestDevice.largest(all);
    double roundings = vocab + 96;
    device.assertClose(lse, expectedLse, roundings, 1);
    device.assertClose(logProb, expectedLogProb, roundings, 1);
    device.assertClose(entropy, expectedEntropy, roundings, 1 + largest);
    device.assertClose(mean, expectedMean, roundings, largest / Math.sqrt(vocab) + 1);
    device.assertClose(logSumSquare, expectedSquare, roundings, 2);
    device.assertExact(argmax, expectedArgmax);

    Tensor lseOnly = device.output("lseOnly", DType.F32, rows);
    Tensor logProbOnly = device.given("logProbOnly", DType.F32, untouched, predictions);
    LogProb.forward(
        device.backend(),
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
    device.assertClose(lseOnly, expectedLse, roundings, 1);
    device.assertClose(logProbOnly, expectedLogProb, roundings, 1);

    double magnitude = 4 * TestDevice.largest(d);
    if (place == Place.APART) {
      Tensor dLogits = device.strided("dLogits", device.dtype(), 1, 2, rows, vocab);
      LogProb.backward(
          device.backend(), dLogits, logits, lse, dLogProb, predictionBegin, targetIds, softcap);
      device.assertClose(dLogits, expectedD, roundings, magnitude);
    } else {
      long perFloat = DType.F32.sizeBytes() / device.dtype().sizeBytes();
      Tensor over =
          logits
              .reinterpret("dLogits", device.dtype(), rows, vocab * perFloat)
              .columns("dLogits", 0, vocab);
      LogProb.backward(
          device.backend(), over, logits, lse, dLogProb, predictionBegin, targetIds, softcap);
      Tensor copy = device.output("copy", device.dtype(), rows, vocab);
      for (int r = 0; r < rows; r++) {
        device.backend().copy(copy.rows(r, 1), over.rows(r, 1));
      }
      device.assertClose(copy, expectedD, roundings, magnitude);
    }
  }

  @BackendTest
  void extremeLogits(BackendCase backendCase) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      double[] values = {1e30, -1e30, 0, 1e30, Double.NEGATIVE_INFINITY, -3, 5, -3};
      Tensor logits = device.given("logits", DType.F32, values, 2, 4);
      Tensor logProb = device.output("logProb", DType.F32, 2);
      Tensor lse = device.output("lse", DType.F32, 2);
      Tensor entropy = device.output("entropy", DType.F32, 2);
      Tensor argmax = device.output("argmax", DType.I32, 2);
      LogProb.forward(
          device.backend(),
          logProb,
          lse,
          entropy,
          argmax,
          null,
          null,
          logits,
          device.given("begin", 0, 1, 2),
          device.given("targets", 3, 1),
          0);
      double tail = Math.log1p(2 * Math.exp(-8));
      double p = Math.exp(-tail);
      // Two equal giants: entropy ln 2; the first of equals is the arg-max.
      device.assertClose(
          entropy, new double[] {Math.log(2), 5 + tail - 5 * p + 6 * Math.exp(-8 - tail)}, 96, 8);
      device.assertExact(argmax, new double[] {0, 2});
      // Beside 1e30 the log of 2 is nothing: a target that is as large has log-prob -ln 2, and the
      // kernel takes z - lse in double, so that it need not lose it.
      assertTrue(device.values(logProb)[0] <= 0, "log-prob above 0");
      device.assertClose(logProb, new double[] {device.values(logProb)[0], -8 - tail}, 96, 8);
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor logits = device.normal("logits", DType.F32, 2, 4);
      Tensor f2 = device.normal("f2", DType.F32, 2);
      Tensor targets = device.given("targets", 0, 1);
      assertEquals(
          "logprob: predictionBegin is [2] i32, expected [rows+1=3] i32",
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      LogProb.forward(
                          device.backend(),
                          f2,
                          f2,
                          null,
                          null,
                          null,
                          null,
                          logits,
                          targets,
                          targets,
                          0))
              .getMessage());
    }
  }
}
