package dev.gatun.backend;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** One operation of a cuDNN graph. */
sealed interface CudnnNode {
  /** Tensors read and written. */
  List<CudnnTensor> tensors();

  /**
   * y = mode(x, b), or mode(x, b, t) of BINARY_SELECT: t ? x : b.
   *
   * @param axis whose index GEN_INDEX writes; -1 for other modes
   */
  record Pointwise(
      CudnnPointwise mode,
      CudnnTensor x,
      @Nullable CudnnTensor b,
      @Nullable CudnnTensor t,
      CudnnTensor y,
      int axis)
      implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return present(x, b, t, y);
    }
  }

  /**
   * c = a b, per entry of dimensions 0 and 1.
   *
   * @param m rows of each entry that count: i32, one per entry of dimension 0; null: all
   * @param n columns, likewise
   * @param k summands, likewise
   */
  record Matmul(
      CudnnTensor a,
      CudnnTensor b,
      CudnnTensor c,
      @Nullable CudnnTensor m,
      @Nullable CudnnTensor n,
      @Nullable CudnnTensor k)
      implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return present(a, b, c, m, n, k);
    }
  }

  /** y = sums of x over the dimensions in which y is smaller. */
  record SumReduction(CudnnTensor x, CudnnTensor y) implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return List.of(x, y);
    }
  }

  /** y = x seen with other dimensions. */
  record Reshape(CudnnTensor x, CudnnTensor y) implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return List.of(x, y);
    }
  }

  /** y = x, or b where column > row + lengthKv - lengthQ: the causal mask, aligned bottom-right. */
  record CausalMask(
      CudnnTensor x, CudnnTensor b, CudnnTensor lengthQ, CudnnTensor lengthKv, CudnnTensor y)
      implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return List.of(x, b, lengthQ, lengthKv, y);
    }
  }

  /**
   * out = softmax(mask(scale q k^T)) v, lse = the log-sum-exp of the masked scores.
   *
   * @param mask from its x, the scores, to its y
   * @param softmaxX virtual, shape of the scores; stands for what mask.y() becomes
   * @param softmaxY virtual, likewise
   */
  record ForwardAttention(
      CudnnTensor q,
      CudnnTensor k,
      CudnnTensor v,
      CudnnTensor out,
      CudnnTensor lse,
      CudnnTensor scale,
      CudnnTensor lengthQ,
      CudnnTensor lengthKv,
      CausalMask mask,
      CudnnTensor softmaxX,
      CudnnTensor softmaxY)
      implements CudnnNode {
    @Override
    public List<CudnnTensor> tensors() {
      return List.of(
          q, k, v, out, lse, scale, lengthQ, lengthKv, mask.x(), mask.b(), mask.y(), softmaxX,
          softmaxY);
    }
  }

  private static List<CudnnTensor> present(@Nullable CudnnTensor... tensors) {
    return Arrays.stream(tensors).filter(Objects::nonNull).toList();
  }
}
