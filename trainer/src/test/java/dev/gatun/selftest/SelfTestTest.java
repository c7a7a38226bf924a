package dev.gatun.selftest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The self-test passes where all is well, and finds what is wrong. */
final class SelfTestTest {
  /** Changes the exponent of the first f32, or of the first two bf16: far beyond any tolerance. */
  private static int perturb(MemorySegment output, Object[] arguments) {
    for (int at : new int[] {1, 3}) {
      byte value = output.get(ValueLayout.JAVA_BYTE, at);
      output.set(ValueLayout.JAVA_BYTE, at, (byte) (value ^ 0x40));
    }
    return 0;
  }

  private static Set<String> names(List<SelfTestResult> results, Predicate<SelfTestResult> which) {
    return results.stream()
        .filter(which)
        .map(SelfTestResult::name)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static Set<String> failed(List<SelfTestResult> results) {
    return names(results, result -> !result.passed());
  }

  private static List<SelfTestResult> ops(BrokenKernels broken) {
    return SelfTest.ops(broken.backend(), Extent.QUICK, result -> {});
  }

  @Test
  void everyRowOfTheTablePassesInBothTypes() {
    List<SelfTestResult> heard = new ArrayList<>();
    try (Backend backend = CpuBackend.create(new CpuOptions(2, null))) {
      SelfTestReport report = SelfTest.run(backend, backend, Extent.QUICK, heard::add);
      assertEquals(Set.of(), failed(report.results()));
      assertTrue(report.passed());
      assertEquals(report.results(), heard);
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        Set<String> names = names(report.results(), result -> result.dtype() == dtype);
        assertTrue(names.containsAll(BrokenKernels.rows()), names.toString());
        assertTrue(names.contains("matmul"), names.toString());
        assertTrue(names.contains("llama dpo gradient"), names.toString());
      }
    }
  }

  @Test
  void everyBrokenRowIsFound() {
    try (BrokenKernels broken = new BrokenKernels(SelfTestTest::perturb, BrokenKernels.rows())) {
      List<SelfTestResult> results = ops(broken);
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        Set<String> found = names(results, result -> result.dtype() == dtype && !result.passed());
        assertEquals(new TreeSet<>(BrokenKernels.rows()), found, dtype.toString());
      }
    }
  }

  @Test
  void theBrokenRowIsNamedAndNoOther() {
    for (String row : List.of("rmsnorm_backward", "attention_backward", "gather_forward")) {
      try (BrokenKernels broken = new BrokenKernels(SelfTestTest::perturb, List.of(row))) {
        assertEquals(new TreeSet<>(List.of(row)), failed(ops(broken)));
      }
    }
  }

  @Test
  void writingOutsideIsFound() {
    BrokenKernels.Damage oneTooMany =
        (y, arguments) -> {
          long count = (long) arguments[3];
          long size = (int) arguments[4] == DType.F32.code() ? 4 : 2;
          y.set(ValueLayout.JAVA_BYTE, count * size, (byte) 0);
          return 0;
        };
    try (BrokenKernels broken = new BrokenKernels(oneTooMany, List.of("residual_forward"))) {
      List<SelfTestResult> results = ops(broken);
      assertEquals(new TreeSet<>(List.of("residual_forward")), failed(results));
      for (SelfTestResult result : results) {
        if (!result.passed()) {
          assertTrue(result.error() <= 1, "the values themselves are right");
          assertTrue(result.findings().getFirst().contains("outside y "), result.toString());
        }
      }
    }
  }

  @Test
  void otherBitsWhenRunAgainAreFound() {
    int[] calls = {0};
    BrokenKernels.Damage lastBit =
        (y, _) -> {
          byte value = y.get(ValueLayout.JAVA_BYTE, 0);
          y.set(ValueLayout.JAVA_BYTE, 0, (byte) (value ^ (calls[0]++ & 1)));
          return 0;
        };
    try (BrokenKernels broken = new BrokenKernels(lastBit, List.of("gelu_forward"))) {
      List<SelfTestResult> results = ops(broken);
      assertEquals(new TreeSet<>(List.of("gelu_forward")), failed(results));
      SelfTestResult f32 =
          results.stream().filter(result -> !result.passed()).findFirst().orElseThrow();
      assertEquals(DType.F32, f32.dtype());
      assertTrue(f32.error() <= 1, "a last bit is within the tolerance");
      assertTrue(f32.findings().getFirst().contains("not deterministic"), f32.toString());
    }
  }

  @Test
  void aKernelThatFailsIsNamedWithWhatItSays() {
    try (BrokenKernels broken = new BrokenKernels((_, _) -> 4, List.of("mix"))) {
      List<SelfTestResult> results = ops(broken);
      assertEquals(new TreeSet<>(List.of("mix")), failed(results));
      SelfTestResult mix =
          results.stream().filter(result -> !result.passed()).findFirst().orElseThrow();
      assertTrue(mix.findings().getFirst().contains("GATUN_FAILED"), mix.toString());
      assertEquals(Double.POSITIVE_INFINITY, mix.error(), "nothing was compared");
    }
  }

  /** An op that is wrong is seen in training too, and in what is printed as JSON. */
  @Test
  void trainingOnABrokenKernelFails() {
    try (BrokenKernels broken =
            new BrokenKernels(SelfTestTest::perturb, List.of("rmsnorm_backward"));
        Backend sound = CpuBackend.create(new CpuOptions(2, null))) {
      SelfTestReport report = SelfTest.run(broken.backend(), sound, Extent.QUICK, result -> {});
      assertFalse(report.passed());
      assertEquals(
          new TreeSet<>(List.of("llama dpo gradient", "llama dpo weights", "rmsnorm_backward")),
          names(
              report.results(),
              result -> !result.passed() && !result.name().equals("llama dpo losses")));
      assertTrue(report.toJson().contains("\"passed\":false"), report.toJson());
    }
  }
}
