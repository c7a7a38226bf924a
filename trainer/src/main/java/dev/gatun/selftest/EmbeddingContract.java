package dev.gatun.selftest;

import dev.gatun.op.Embedding;
import dev.gatun.op.reference.EmbeddingReference;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** What {@link Embedding} must do. */
public final class EmbeddingContract {
  private static final int VOCAB = 11;
  private static final int POSITIONS = 7;

  /** Whether positions have a table. */
  public enum Positions {
    NONE,
    LEARNED
  }

  private EmbeddingContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int hidden : extent.widths()) {
      for (int tokens : extent.rows(hidden)) {
        for (Positions positions : Positions.values()) {
          String form = "[%d, %d], positions %s".formatted(tokens, hidden, positions);
          cases.add(new OpCase(form, bench -> check(bench, tokens, hidden, positions, 1.7f)));
        }
      }
    }
    return cases;
  }

  /** Both passes. */
  public static void check(
      Workbench bench, int tokens, int hidden, Positions positional, float scale) {
    bench.runs("embedding_forward");
    int[] ids = bench.random().ints(tokens, 0, VOCAB).toArray();
    int[] positions = bench.random().ints(tokens, 0, POSITIONS).toArray();
    boolean learned = positional == Positions.LEARNED;
    Tensor tokenIds = bench.given("tokenIds", ids);
    Tensor positionIds = bench.given("positions", positions);
    Tensor table = bench.normal("table", bench.dtype(), VOCAB, hidden);
    Tensor positionTable =
        learned ? bench.normal("positionTable", bench.dtype(), POSITIONS, hidden) : null;
    Tensor y = bench.output("y", bench.dtype(), tokens, hidden);
    Embedding.forward(bench.backend(), y, table, positionTable, tokenIds, positionIds, scale);
    double[] positionTables =
        positionTable == null ? new double[POSITIONS * hidden] : bench.values(positionTable);
    double[] expected =
        EmbeddingReference.forward(
            bench.values(table), positionTables, ids, positions, hidden, scale);
    bench.assertClose(y, expected, 2, 16); // One product and one sum; normal values below 5.

    bench.runs("embedding_backward");
    Tensor dY = bench.normal("dY", bench.dtype(), tokens, hidden);
    Tensor dTable = bench.normal("dTable", DType.F32, VOCAB, hidden);
    Tensor dPositionTable =
        learned ? bench.normal("dPositionTable", DType.F32, POSITIONS, hidden) : null;
    double[] dYs = bench.values(dY);
    double[] expectedDTable = bench.values(dTable);
    EmbeddingReference.backward(expectedDTable, dYs, ids, hidden, scale);
    double[] expectedDPositions =
        dPositionTable == null ? new double[POSITIONS * hidden] : bench.values(dPositionTable);
    EmbeddingReference.backward(expectedDPositions, dYs, positions, hidden, 1);
    Embedding.backward(bench.backend(), dTable, dPositionTable, dY, tokenIds, positionIds, scale);
    // At most `tokens` products and additions to one element.
    double magnitude = (tokens + 1) * 5 * scale;
    bench.assertClose(dTable, expectedDTable, 2 * tokens, magnitude);
    if (dPositionTable != null) {
      bench.assertClose(dPositionTable, expectedDPositions, 2 * tokens, magnitude);
    }
  }
}
