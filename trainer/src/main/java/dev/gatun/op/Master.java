package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Exact f32 master weights as bf16 weights and 16-bit remainders.
 *
 * <pre>
 *   bits(master) = (bits(weight) << 16) + (int16) remainder
 * </pre>
 *
 * weight is the master rounded to nearest, ties away from zero, so that kernels can read it as it
 * is. Without remainders a weight is its own master.
 */
public final class Master {
  private static final Check CHECK = new Check("master");

  private Master() {}

  /**
   * Splits masters.
   *
   * @param weight [out] {@code [count]} f32 or bf16
   * @param remainder [out] {@code [count]} u16; null: weight is the rounded source
   * @param source {@code [count]} f32
   */
  public static void split(
      Backend backend, Tensor weight, @Nullable Tensor remainder, Tensor source) {
    check("source", source, weight, remainder);
    backend.kernels().splitMaster(weight, remainder, source, weight.dim(0), weight.dtype());
  }

  /**
   * Puts masters together.
   *
   * @param destination [out] {@code [count]} f32
   * @param weight {@code [count]} f32 or bf16
   * @param remainder {@code [count]} u16; null: the weights as they are
   */
  public static void join(
      Backend backend, Tensor destination, Tensor weight, @Nullable Tensor remainder) {
    check("destination", destination, weight, remainder);
    backend.kernels().joinMaster(destination, weight, remainder, weight.dim(0), weight.dtype());
  }

  private static void check(String role, Tensor exact, Tensor weight, @Nullable Tensor remainder) {
    checkWeight(CHECK, weight, remainder);
    CHECK.tensor(role, exact, DType.F32, dim("count", weight.dim(0)));
  }

  /** What every optimizer requires of its weights. */
  static void checkWeight(Check check, Tensor weight, @Nullable Tensor remainder) {
    check.rank("weight", weight, "count");
    check.storage("weight", weight);
    check.contiguous("weight", weight);
    check.tensor("remainder", remainder, DType.U16, dim("count", weight.dim(0)));
    check.that(
        remainder == null || weight.dtype() == DType.BF16,
        "remainder with %s weights, expected with bf16 only",
        weight.dtype());
  }

  /** What every optimizer requires of its gradient. */
  static void checkGradient(
      Check check, Tensor weight, Tensor gradient, Tensor gradientScale, long decayCount) {
    check.tensor("gradient", gradient, DType.F32, dim("count", weight.dim(0)));
    check.tensor("gradientScale", gradientScale, DType.F32, dim("scale", 1));
    check.that(
        decayCount >= 0 && decayCount <= weight.dim(0),
        "decayCount is %d, expected 0 to %d",
        decayCount,
        weight.dim(0));
  }
}
