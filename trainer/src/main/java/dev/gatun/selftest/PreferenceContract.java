package dev.gatun.selftest;

import dev.gatun.op.Preference;
import dev.gatun.op.PreferenceDivergence;
import dev.gatun.op.PreferenceLoss;
import dev.gatun.op.PreferenceOptions;
import dev.gatun.op.reference.PreferenceReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What {@link Preference} must do. */
public final class PreferenceContract {
  /** First prediction of the pairs, which are a chunk of a batch. */
  public static final int FIRST = 3;

  /** Lengths of chosen and rejected answers: equal, longer, shorter, 1, empty. */
  private static final int[] LENGTHS = {4, 4, 7, 3, 2, 9, 1, 1, 5, 0, 1, 6, 3, 3};

  public static final int PAIRS = LENGTHS.length / 2;

  private PreferenceContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    List<String> divergences =
        extent == Extent.QUICK
            ? List.of("reverse_kl")
            : List.of("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence");
    for (PreferenceLoss loss : PreferenceLoss.values()) {
      for (String divergence : readsDivergence(loss) ? divergences : List.of("reverse_kl")) {
        PreferenceReference reference = reference(loss, divergence);
        cases.add(
            new OpCase(
                "%s, %s".formatted(loss, divergence), bench -> check(bench, loss, reference)));
      }
    }
    return cases;
  }

  private static boolean readsDivergence(PreferenceLoss loss) {
    return switch (loss) {
      case SIGMOID, HINGE, IPO, EXO_PAIR, ROBUST, DISCOPOP, SIGMOID_NORM -> true;
      default -> false;
    };
  }

  /** A loss with options that it reads. */
  public static PreferenceReference reference(PreferenceLoss loss, String divergence) {
    boolean smooths =
        switch (loss) {
          case SIGMOID, EXO_PAIR, ROBUST, AOT, AOT_UNPAIRED -> true;
          default -> false;
        };
    return new PreferenceReference(
        loss.name().toLowerCase(Locale.ROOT),
        (float) 0.3,
        smooths ? (float) 0.1 : 0,
        (float) 0.5,
        (float) 0.4,
        divergence,
        (float) 0.7,
        1,
        false,
        false);
  }

  /** Losses, sums and gradients of one loss; log-probabilities are f32 whatever the type. */
  public static void check(Workbench bench, PreferenceLoss loss, PreferenceReference reference) {
    bench.runs("preference");
    Inputs in = new Inputs(bench);
    Tensor lossOut = bench.output("loss", DType.F32, PAIRS);
    Tensor sums = bench.output("sums", DType.F32, PAIRS, 4);
    Tensor dLogProb = bench.given("dLogProb", DType.F32, in.untouched(), in.predictions);
    Preference.forward(
        bench.backend(),
        lossOut,
        sums,
        dLogProb,
        in.logProb,
        in.reference,
        in.logSumSquare,
        in.answerBegin,
        in.groupBegin,
        in.pairScale,
        in.sftScale,
        options(loss, 1, reference));

    double[] logProb = bench.values(in.logProb);
    double[] weights = reference.weights(logProb, in.batch);
    double[] expectedSums = new double[4 * PAIRS];
    for (int p = 0; p < PAIRS; p++) {
      System.arraycopy(reference.sums(logProb, in.batch, p), 0, expectedSums, 4 * p, 4);
    }
    // Sums and losses are made in double and rounded once; inputs are exact.
    bench.assertClose(sums, expectedSums, 0, 0);
    double[] expected = reference.losses(logProb, in.batch, weights);
    bench.assertClose(lossOut, expected, 1e-3, 1 + Workbench.largest(expected));

    double[] expectedD = in.untouched();
    int end = in.predictions - 1;
    double[] gradient = reference.gradient(logProb, in.batch, weights, FIRST, end);
    System.arraycopy(gradient, FIRST, expectedD, FIRST, end - FIRST);
    // A central difference: step^2 / 6 third derivatives (below 1 here) and 2^-53 losses / step.
    double difference =
        1e-9 + 1e-10 * Workbench.largest(expected) + 1e-9 * Workbench.largest(expectedD);
    bench.assertClose(dLogProb, expectedD, difference / Workbench.F32_ROUNDOFF, 1);
  }

  /** The same options, as the op takes them. */
  public static PreferenceOptions options(
      PreferenceLoss loss, float weight, PreferenceReference r) {
    PreferenceDivergence divergence =
        switch (r.divergence()) {
          case "forward_kl" -> PreferenceDivergence.FORWARD_KL;
          case "js_divergence" -> PreferenceDivergence.JS;
          case "alpha_divergence" -> PreferenceDivergence.ALPHA;
          default -> PreferenceDivergence.REVERSE_KL;
        };
    return new PreferenceOptions(
        List.of(new PreferenceOptions.WeightedLoss(loss, weight)),
        (float) r.beta(),
        (float) r.labelSmoothing(),
        (float) r.discopopTau(),
        (float) r.simpoGamma(),
        divergence,
        (float) r.alpha(),
        (float) r.ldAlpha(),
        r.useWeighting(),
        r.referenceFree());
  }

  /** Random inputs of {@link #LENGTHS}, with predictions of other pairs around them. */
  public static final class Inputs {
    public final int predictions;
    public final Tensor logProb;
    public final Tensor reference;
    public final Tensor logSumSquare;
    public final Tensor answerBegin;
    public final Tensor groupBegin;
    public final Tensor pairScale;
    public final Tensor sftScale;
    final PreferenceReference.Batch batch;

    public Inputs(Workbench bench) {
      int[] begin = new int[LENGTHS.length + 1];
      begin[0] = FIRST;
      for (int a = 0; a < LENGTHS.length; a++) {
        begin[a + 1] = begin[a] + LENGTHS[a];
      }
      predictions = begin[LENGTHS.length] + 1;
      int[] groups = {0, 4, 4, PAIRS};
      logProb = logProbs(bench, "logProb", predictions);
      reference = logProbs(bench, "reference", predictions);
      logSumSquare = logProbs(bench, "logSumSquare", predictions);
      answerBegin = bench.given("answerBegin", begin);
      groupBegin = bench.given("groupBegin", groups);
      pairScale =
          bench.given(
              "pairScale", DType.F32, bench.random().doubles(PAIRS, 0.1, 1).toArray(), PAIRS);
      sftScale =
          bench.given(
              "sftScale", DType.F32, bench.random().doubles(PAIRS, 0.1, 1).toArray(), PAIRS);
      batch =
          new PreferenceReference.Batch(
              bench.values(reference),
              bench.values(logSumSquare),
              begin,
              groups,
              bench.values(pairScale),
              bench.values(sftScale));
    }

    private static Tensor logProbs(Workbench bench, String name, int count) {
      return bench.given(name, DType.F32, bench.random().doubles(count, -2, 0).toArray(), count);
    }

    /** Gradients that stand for those of other pairs. */
    public double[] untouched() {
      double[] values = new double[predictions];
      Arrays.fill(values, 7);
      return values;
    }
  }
}
