package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;

/**
 * {@code y[i] = x[rows[i]]}: the hidden rows that predict an answer token. Nothing is saved. A row
 * number outside x is a {@code NativeException}.
 */
public final class Gather {
  private static final Check CHECK = new Check("gather");

  private Gather() {}

  /**
   * Copies rows.
   *
   * @param y [out] {@code [numRows, hidden]}
   * @param x {@code [tokens, hidden]}
   * @param rows {@code [numRows]} i32
   */
  public static void forward(Backend backend, Tensor y, Tensor x, Tensor rows) {
    check("x", x, "y", y, rows);
    backend.kernels().gatherForward(y, x, rows, y.dim(0), y.dim(1), x.dtype());
  }

  /**
   * {@code dX = 0, then dX[rows[i]] = dY[i]}.
   *
   * @param dX [out] {@code [tokens, hidden]}
   * @param dY {@code [numRows, hidden]}
   * @param rows {@code [numRows]} i32, distinct
   */
  public static void backward(Backend backend, Tensor dX, Tensor dY, Tensor rows) {
    check("dX", dX, "dY", dY, rows);
    backend.kernels().gatherBackward(dX, dY, rows, dY.dim(0), dX.dim(0), dX.dim(1), dX.dtype());
  }

  private static void check(
      String allRole, Tensor all, String pickedRole, Tensor picked, Tensor rows) {
    CHECK.rank(allRole, all, "tokens", "hidden");
    CHECK.storage(allRole, all);
    CHECK.contiguous(allRole, all);
    CHECK.rank("rows", rows, "numRows");
    CHECK.tensor("rows", rows, DType.I32, dim("numRows", rows.dim(0)));
    CHECK.tensor(
        pickedRole, picked, all.dtype(), dim("numRows", rows.dim(0)), dim("hidden", all.dim(1)));
  }
}
