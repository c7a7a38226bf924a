package dev.gatun.op;

import static dev.gatun.selftest.PreferenceContract.FIRST;
import static dev.gatun.selftest.PreferenceContract.PAIRS;
import static dev.gatun.selftest.PreferenceContract.options;
import static dev.gatun.selftest.PreferenceContract.reference;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.op.reference.PreferenceReference;
import dev.gatun.selftest.PreferenceContract;
import dev.gatun.selftest.PreferenceContract.Inputs;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class PreferenceTest {
  /** A device, whatever its storage type: log-probabilities are f32. */
  private static List<BackendCase> backends() {
    return BackendCase.all().stream().filter(c -> c.dtype() == DType.F32).toList();
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
      PreferenceContract.check(device, loss, reference);
    }
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
}
