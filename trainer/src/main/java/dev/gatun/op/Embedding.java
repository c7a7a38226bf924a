package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Rows of a table.
 *
 * <pre>
 *   y[t] = scale * table[tokenIds[t]] + positionTable[positions[t]]
 * </pre>
 *
 * Nothing is saved. An id or position outside its table is a {@code NativeException}.
 */
public final class Embedding {
  private static final Check CHECK = new Check("embedding");

  private Embedding() {}

  /**
   * Looks rows up.
   *
   * @param y [out] {@code [tokens, hidden]}
   * @param table {@code [vocab, hidden]}, type of y
   * @param positionTable {@code [maxPositions, hidden]}, type of y; null for models without one
   * @param tokenIds {@code [tokens]} i32
   * @param positions {@code [tokens]} i32
   * @param scale 1, or what the family multiplies embeddings with
   */
  public static void forward(
      Backend backend,
      Tensor y,
      Tensor table,
      @Nullable Tensor positionTable,
      Tensor tokenIds,
      Tensor positions,
      float scale) {
    check("y", y, "table", table, "positionTable", positionTable, y.dtype(), tokenIds, positions);
    backend
        .kernels()
        .embeddingForward(
            y,
            table,
            positionTable,
            tokenIds,
            positions,
            y.dim(0),
            y.dim(1),
            table.dim(0),
            positionTable == null ? 0 : positionTable.dim(0),
            scale,
            y.dtype());
  }

  /**
   * Adds the gradient to the rows that were read, in the order of t.
   *
   * @param dTable [in,out] {@code [vocab, hidden]} f32
   * @param dPositionTable [in,out] {@code [maxPositions, hidden]} f32; null as in forward
   * @param dY {@code [tokens, hidden]}
   */
  public static void backward(
      Backend backend,
      Tensor dTable,
      @Nullable Tensor dPositionTable,
      Tensor dY,
      Tensor tokenIds,
      Tensor positions,
      float scale) {
    check(
        "dY",
        dY,
        "dTable",
        dTable,
        "dPositionTable",
        dPositionTable,
        DType.F32,
        tokenIds,
        positions);
    backend
        .kernels()
        .embeddingBackward(
            dTable,
            dPositionTable,
            dY,
            tokenIds,
            positions,
            dY.dim(0),
            dY.dim(1),
            dTable.dim(0),
            dPositionTable == null ? 0 : dPositionTable.dim(0),
            scale,
            dY.dtype());
  }

  private static void check(
      String rowsRole,
      Tensor rows,
      String tableRole,
      Tensor table,
      String positionRole,
      @Nullable Tensor positionTable,
      DType tableDtype,
      Tensor tokenIds,
      Tensor positions) {
    CHECK.rank(rowsRole, rows, "tokens", "hidden");
    CHECK.storage(rowsRole, rows);
    CHECK.contiguous(rowsRole, rows);
    CHECK.rank(tableRole, table, "vocab", "hidden");
    Check.Dim hidden = dim("hidden", rows.dim(1));
    CHECK.tensor(tableRole, table, tableDtype, dim("vocab", table.dim(0)), hidden);
    if (positionTable != null) {
      CHECK.rank(positionRole, positionTable, "maxPositions", "hidden");
      CHECK.tensor(
          positionRole,
          positionTable,
          tableDtype,
          dim("maxPositions", positionTable.dim(0)),
          hidden);
    }
    CHECK.tensor("tokenIds", tokenIds, DType.I32, dim("tokens", rows.dim(0)));
    CHECK.tensor("positions", positions, DType.I32, dim("tokens", rows.dim(0)));
  }
}
