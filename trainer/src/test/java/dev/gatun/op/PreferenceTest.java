package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.PreferenceReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class PreferenceTest {
  /** First prediction of the pairs, which are a chunk of a batch. */
  private static final int FIRST = 3;

  /** Lengths of chosen and rejected answers: equal, longer, shorter, 1, empty. */
  private static final int[] LENGTHS = {4, 4, 7, 3, 2, 9, 1, 1, 5, 0, 1, 6, 3, 3};

  private static final int PAIRS = LENGTHS.length / 2;

  /** A device, whatever its storage type: log-probabilities are f32. */
  private static List<BackendCase> backends() {
    return BackendCase.all().stream().filter(c -> c.dtype() == DType.F32).toList();
  }

  private static PreferenceReference reference(PreferenceLoss loss, String divergence) {
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

  @ParameterizedTest
  @EnumSource(PreferenceLoss.class)
  void everyLossAndItsGradient(PreferenceLoss loss) {
    for (BackendCase backendCase : backends()) {
      check(backendCase, loss, reference(loss, "reverse_kl"));
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = PreferenceLoss.class,
      names = {"SIGMOID", "HINGE", "IPO", "EXO_PAIR", "ROBUST", "DISCOPOP", "SIGMOID_NORM"})
  void everyDivergenceAndItsGradient(PreferenceLoss loss) {
    for (String divergence : List.of("forward_kl", "js_divergence", "alpha_divergence")) {
      check(backends().getLast(), loss, reference(loss, divergence));
    }
  }

  @ParameterizedTest
  @EnumSource(value = PreferenceLoss.class, mode = EnumSource.Mode.EXCLUDE, names = "SFT")
  void longAnswersCountLess(PreferenceLoss loss) {
    PreferenceReference r = reference(loss, "reverse_kl");
    check(
        backends().getLast(),
        loss,
        new PreferenceReference(
            r.loss(),
            r.beta(),
            r.labelSmoothing(),
            r.discopopTau(),
            r.simpoGamma(),
            r.divergence(),
            r.alpha(),
            0.25,
            false,
            false));
  }

  @ParameterizedTest
  @EnumSource(
      value = PreferenceLoss.class,
      mode = EnumSource.Mode.EXCLUDE,
      names = {"SFT", "AOT", "AOT_UNPAIRED"})
  void weightsAreConstantsToTheGradient(PreferenceLoss loss) {
    PreferenceReference r = reference(loss, "reverse_kl");
    check(
        backends().getLast(),
        loss,
        new PreferenceReference(
            r.loss(),
            r.beta(),
            r.labelSmoothing(),
            r.discopopTau(),
            r.simpoGamma(),
            r.divergence(),
            r.alpha(),
            1,
            true,
            false));
  }

  @ParameterizedTest
  @EnumSource(PreferenceLoss.class)
  void withoutReference(PreferenceLoss loss) {
    PreferenceReference r = reference(loss, "reverse_kl");
    check(
        backends().getLast(),
        loss,
        new PreferenceReference(
            r.loss(),
            r.beta(),
            r.labelSmoothing(),
            r.discopopTau(),
            r.simpoGamma(),
            r.divergence(),
            r.alpha(),
            1,
            false,
            true));
  }

  private static void check(
      BackendCase backendCase, PreferenceLoss loss, PreferenceReference reference) {
    try (TestDevice device = TestDevice.open(backendCase)) {
      Inputs in = new Inputs(device);
      Tensor lossOut = device.output("loss", DType.F32, PAIRS);
      Tensor sums = device.output("sums", DType.F32, PAIRS, 4);
      Tensor dLogProb = device.given("dLogProb", DType.F32, in.untouched(), in.predictions);
      Preference.forward(
          device.backend(),
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

      double[] logProb = device.values(in.logProb);
      double[] weights = reference.weights(logProb, in.batch);
      double[] expectedSums = new double[4 * PAIRS];
      for (int p = 0; p < PAIRS; p++) {
        System.arraycopy(reference.sums(logProb, in.batch, p), 0, expectedSums, 4 * p, 4);
      }
      // Sums and losses are made in double and rounded once; inputs are exact.
      device.assertClose(sums, expectedSums, 0, 0);
      double[] expected = reference.losses(logProb, in.batch, weights);
      device.assertClose(lossOut, expected, 1e-3, 1 + TestDevice.largest(expected));

      double[] expectedD = in.untouched();
      double[] moved = logProb.clone();
      double step = 1e-5;
      for (int n = FIRST; n < in.predictions - 1; n++) {
        moved[n] = logProb[n] + step;
        double above = reference.total(moved, in.batch, weights);
        moved[n] = logProb[n] - step;
        double below = reference.total(moved, in.batch, weights);
        moved[n] = logProb[n];
        expectedD[n] = (above - below) / (2 * step);
      }
      // A central difference: step^2 / 6 third derivatives (below 1 here) and 2^-53 losses / step.
      double difference =
          1e-9 + 1e-10 * TestDevice.largest(expected) + 1e-9 * TestDevice.largest(expectedD);
      device.assertClose(dLogProb, expectedD, difference / TestDevice.F32_ROUNDOFF, 1);
    }
  }

  private static PreferenceOptions options(
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

  /** Several losses are their weighted sum. */
  @Test
  void lossesAddUp() {
    for (BackendCase backendCase : backends()) {
      try (TestDevice device = TestDevice.open(backendCase)) {
        Inputs in = new Inputs(device);
        double[] losses = new double[PAIRS];
        double[] gradients = in.untouched();
        Arrays.fill(gradients, FIRST, in.predictions - 1, 0);
        List<PreferenceOptions.WeightedLoss> all = new ArrayList<>();
        float weight = 0.5f;
        for (PreferenceLoss loss :
            List.of(PreferenceLoss.SIGMOID, PreferenceLoss.AOT, PreferenceLoss.SFT)) {
          PreferenceReference reference = reference(loss, "reverse_kl");
          Tensor one = device.output("one", DType.F32, PAIRS);
          Tensor dOne = device.given("dOne", DType.F32, in.untouched(), in.predictions);
          run(device, in, one, dOne, options(loss, 1, reference));
          double[] value = device.values(one);
          double[] d = device.values(dOne);
          for (int p = 0; p < PAIRS; p++) {
            losses[p] += weight * value[p];
          }
          for (int n = FIRST; n < in.predictions - 1; n++) {
            gradients[n] += weight * d[n];
          }
          all.add(new PreferenceOptions.WeightedLoss(loss, weight));
          weight += 0.25f;
        }
        Tensor loss = device.output("loss", DType.F32, PAIRS);
        Tensor dLogProb = device.given("dLogProb", DType.F32, in.untouched(), in.predictions);
        run(
            device,
            in,
            loss,
            dLogProb,
            new PreferenceOptions(
                all,
                0.3f,
                0.1f,
                0.5f,
                0.4f,
                PreferenceDivergence.REVERSE_KL,
                0.7f,
                1,
                false,
                false));
        // Each term was rounded to f32 once.
        device.assertClose(loss, losses, 4, TestDevice.largest(losses));
        device.assertClose(dLogProb, gradients, 4, TestDevice.largest(gradients));
      }
    }
  }

  private static void run(
      TestDevice device, Inputs in, Tensor loss, Tensor dLogProb, PreferenceOptions options) {
    Preference.forward(
        device.backend(),
        loss,
        device.output("sums", DType.F32, PAIRS, 4),
        dLogProb,
        in.logProb,
        in.reference,
        in.logSumSquare,
        in.answerBegin,
        in.groupBegin,
        in.pairScale,
        in.sftScale,
        options);
  }

  /** Log-probabilities so far apart that a naive exponential would overflow. */
  @ParameterizedTest
  @EnumSource(PreferenceLoss.class)
  void extremesStayFinite(PreferenceLoss loss) {
    try (TestDevice device = TestDevice.open(backends().getLast())) {
      for (double far : new double[] {-5000, 5000}) {
        Tensor logProb = device.given("logProb", DType.F32, new double[] {far, -far}, 2);
        Tensor zero = device.given("reference", DType.F32, new double[2], 2);
        Tensor one = device.given("one", DType.F32, new double[] {1}, 1);
        Tensor out = device.output("loss", DType.F32, 1);
        Tensor d = device.output("d", DType.F32, 2);
        Preference.forward(
            device.backend(),
            out,
            device.output("sums", DType.F32, 1, 4),
            d,
            logProb,
            zero,
            null,
            device.given("answers", 0, 1, 2),
            device.given("groups", 0, 1),
            one,
            one,
            options(loss, 1, reference(loss, "reverse_kl")));
        // NaN would fail the comparison of a bound.
        device.assertClose(out, new double[1], 1, 1e30);
        device.assertClose(d, new double[2], 1, 1e30);
      }
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(backends().getFirst())) {
      Inputs in = new Inputs(device);
      PreferenceReference r = reference(PreferenceLoss.SIGMOID, "reverse_kl");
      Tensor loss = device.output("loss", DType.F32, PAIRS - 1);
      assertEquals(
          "preference: sums is [7, 4] f32, expected [pairs=6, sums=4] f32",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> run(device, in, loss, in.logProb, options(PreferenceLoss.SIGMOID, 1, r)))
              .getMessage());
    }
  }

  /** Random inputs of {@link #LENGTHS}, with predictions of other pairs around them. */
  private static final class Inputs {
    final int predictions;
    final Tensor logProb;
    final Tensor reference;
    final Tensor logSumSquare;
    final Tensor answerBegin;
    final Tensor groupBegin;
    final Tensor pairScale;
    final Tensor sftScale;
    final PreferenceReference.Batch batch;

    Inputs(TestDevice device) {
      int[] begin = new int[LENGTHS.length + 1];
      begin[0] = FIRST;
      for (int a = 0; a < LENGTHS.length; a++) {
        begin[a + 1] = begin[a] + LENGTHS[a];
      }
      predictions = begin[LENGTHS.length] + 1;
      int[] groups = {0, 4, 4, PAIRS};
      logProb = logProbs(device, "logProb", predictions);
      reference = logProbs(device, "reference", predictions);
      logSumSquare = logProbs(device, "logSumSquare", predictions);
      answerBegin = device.given("answerBegin", begin);
      groupBegin = device.given("groupBegin", groups);
      pairScale =
          device.given(
              "pairScale", DType.F32, device.random().doubles(PAIRS, 0.1, 1).toArray(), PAIRS);
      sftScale =
          device.given(
              "sftScale", DType.F32, device.random().doubles(PAIRS, 0.1, 1).toArray(), PAIRS);
      batch =
          new PreferenceReference.Batch(
              device.values(reference),
              device.values(logSumSquare),
              begin,
              groups,
              device.values(pairScale),
              device.values(sftScale));
    }

    private static Tensor logProbs(TestDevice device, String name, int count) {
      return device.given(name, DType.F32, device.random().doubles(count, -2, 0).toArray(), count);
    }

    /** Gradients that stand for those of other pairs. */
    double[] untouched() {
      double[] values = new double[predictions];
      Arrays.fill(values, 7);
      return values;
    }
  }
}
