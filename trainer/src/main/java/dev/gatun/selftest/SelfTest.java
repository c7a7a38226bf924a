package dev.gatun.selftest;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * Runs everything that a backend computes on the machine at hand: every row of the kernel table and
 * every form of matmul against the references in double, in f32 and bf16, each form twice with the
 * same bits; then two short training runs against another backend.
 */
public final class SelfTest {
  /** Holds the tensors of the largest form. */
  private static final long CAPACITY_BYTES = 64L << 20;

  private static final long SEED = 20261121;

  private static final List<DType> DTYPES = List.of(DType.F32, DType.BF16);

  /** The contracts; each gives the rows that belong together. */
  private static final List<Function<Extent, List<OpCase>>> CONTRACTS =
      List.of(
          TransferContract::cases,
          EmbeddingContract::cases,
          RmsNormContract::cases,
          LayerNormContract::cases,
          LinearContract::cases,
          RopeContract::cases,
          AttentionContract::cases,
          ActivationContract::cases,
          GatherContract::cases,
          LogProbContract::cases,
          PreferenceContract::cases,
          OptimizerContract::cases);

  private SelfTest() {}

  /**
   * Tests a backend.
   *
   * @param other what the training runs are compared with; the caller closes both
   * @param listener hears each result as soon as it is known
   */
  public static SelfTestReport run(
      Backend backend, Backend other, Extent extent, Consumer<SelfTestResult> listener) {
    long begin = System.nanoTime();
    List<SelfTestResult> results = new ArrayList<>(ops(backend, extent, listener));
    for (TrainingRun run : TrainingRun.all()) {
      for (SelfTestResult result : run.compare(backend, other)) {
        results.add(result);
        listener.accept(result);
      }
    }
    return new SelfTestReport(
        backend.description(), other.description(), (System.nanoTime() - begin) / 1e9, results);
  }

  /** The ops alone. */
  static List<SelfTestResult> ops(
      Backend backend, Extent extent, Consumer<SelfTestResult> listener) {
    List<SelfTestResult> results = new ArrayList<>();
    for (Function<Extent, List<OpCase>> contract : CONTRACTS) {
      for (DType dtype : DTYPES) {
        Verdicts verdicts = new Verdicts(dtype);
        try (Workbench bench = new Workbench(backend, dtype, CAPACITY_BYTES, SEED, verdicts)) {
          for (OpCase opCase : contract.apply(extent)) {
            verdicts.begin(opCase.form());
            twice(bench, opCase, verdicts);
          }
        }
        for (SelfTestResult result : verdicts.results()) {
          results.add(result);
          listener.accept(result);
        }
      }
    }
    return results;
  }

  /** Runs a form two times from the same random numbers, and compares all bits after it. */
  private static void twice(Workbench bench, OpCase opCase, Judge judge) {
    if (once(bench, opCase, judge)) {
      List<Workbench.Bits> first = bench.bits();
      bench.clear();
      if (once(bench, opCase, judge)) {
        compare(first, bench.bits(), judge);
      }
    }
    bench.clear();
  }

  /** Whether the body came to its end; what it threw is a finding about the row that ran. */
  private static boolean once(Workbench bench, OpCase opCase, Judge judge) {
    try {
      opCase.body().accept(bench);
      return true;
    } catch (RuntimeException e) {
      judge.failed(bench.row(), String.valueOf(e.getMessage()));
      return false;
    }
  }

  private static void compare(
      List<Workbench.Bits> first, List<Workbench.Bits> second, Judge judge) {
    for (int i = 0; i < first.size(); i++) {
      Workbench.Bits bits = first.get(i);
      int at = Arrays.mismatch(bits.bytes(), second.get(i).bytes());
      if (at >= 0) {
        judge.failed(
            bits.row(),
            "%s is not the same when run again, from byte %d on: not deterministic"
                .formatted(bits.tensor(), at));
      }
    }
  }
}
