package dev.gatun.backend;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The graphs of attention over segments, causal and aligned bottom-right, in bf16.
 *
 * <p>Tensors are [segments, heads, length, headDim] seen through their strides; where a segment's
 * rows begin comes from ragged offsets in elements, how many there are from i32 lengths. Outputs
 * and statistics are rows of all segments, as Gatun has them: lse [tokens, heads], natural log.
 *
 * <p>The forward pass is one operation of cuDNN. The backward pass is the composite graph that
 * cuDNN fuses: probabilities from scores and lse, then the gradients
 *
 * <pre>
 *   P = exp(scale Q K^T - lse)       dV = P^T dO
 *   dS = scale P (dO V^T - rowsum(dO O))
 *   dQ = dS K                        dK = dS^T Q
 * </pre>
 *
 * <p>Node by node it is what NVIDIA's open-source cudnn-frontend builds for packed sequences with a
 * total length (its CompositeSDPABackwardNode), since engines recognize graphs by their pattern.
 */
final class CudnnAttentionGraph {
  /** Intermediates are numbered from here. */
  private static final long FIRST_VIRTUAL_UID = 100;

  private final CudnnAttentionShape shape;
  private final List<CudnnNode> nodes = new ArrayList<>();
  private final CudnnTensor lengthQ;
  private final CudnnTensor lengthKv;
  private final CudnnTensor offsetQ;
  private final CudnnTensor offsetOut;
  private final CudnnTensor offsetKv;
  private final CudnnTensor offsetLse;
  private final CudnnTensor scale;
  private long virtualUid = FIRST_VIRTUAL_UID;

  /** What a variant pack has an address for. */
  enum Role {
    Q(1),
    K(2),
    V(3),
    OUT(4),
    LSE(5),
    D_OUT(6),
    D_Q(7),
    D_K(8),
    D_V(9),
    /** i64 [segments + 1]: element where each segment begins in q. */
    OFFSET_Q(10),
    /** In dQ. */
    OFFSET_D_Q(11),
    /** In out and dOut. */
    OFFSET_OUT(12),
    /** In k, v, dK and dV. */
    OFFSET_KV(13),
    /** In lse and ROW_SUM. */
    OFFSET_LSE(14),
    /** i32 [segments]: queries. */
    LENGTH_Q(15),
    /** i32 [segments]: keys. */
    LENGTH_KV(16),
    /** f32 in host memory. */
    SCALE(17),
    /** f32 in host memory: -infinity. */
    MASKED_SCORE(18),
    /** f32 in host memory: 1. */
    ONE(19),
    /** f32 [tokens, heads], written before it is read: row sums of dOut * out. */
    ROW_SUM(20),
    /** f32, rows and strides of dQ: where its summands are added up. */
    D_Q_SUM(21),
    /** [keyRows, heads, headDim]: dK before the heads of a group are added up. */
    D_K_HEADS(22),
    /** dV likewise. */
    D_V_HEADS(23);

    private final long uid;

    Role(long uid) {
      this.uid = uid;
    }

    long uid() {
      return uid;
    }

    /** The role of a tensor that is not an intermediate. */
    static Role of(CudnnTensor tensor) {
      for (Role role : values()) {
        if (role.uid == tensor.uid()) {
          return role;
        }
      }
      throw new IllegalArgumentException(tensor + " has no role");
    }
  }

  private CudnnAttentionGraph(CudnnAttentionShape shape) {
    this.shape = shape;
    this.lengthQ = perSegment(Role.LENGTH_Q, CudnnDataType.INT32, shape.segments());
    this.lengthKv = perSegment(Role.LENGTH_KV, CudnnDataType.INT32, shape.segments());
    this.offsetQ = offset(Role.OFFSET_Q);
    this.offsetOut = offset(Role.OFFSET_OUT);
    this.offsetKv = offset(Role.OFFSET_KV);
    this.offsetLse = offset(Role.OFFSET_LSE);
    this.scale = scalar(Role.SCALE);
  }

  /** out and lse from q, k and v. */
  static CudnnGraph forward(CudnnAttentionShape shape) {
    return new CudnnAttentionGraph(shape).forward();
  }

  /** dQ, dK and dV from dOut, out, lse, q, k and v. */
  static CudnnGraph backward(CudnnAttentionShape shape) {
    return new CudnnAttentionGraph(shape).backward();
  }

  /**
   * The engine of a backward pass that heuristics do not name, or null. On Blackwell that is the
   * deterministic one, which NVIDIA's cudnn-frontend configures like this from cuDNN 9.23 on: tile
   * of 128 rows (TILE_M = 3, TILE_N = 2), warp-specialized kernel (KERNEL_CFG = 2), no split
   * (STREAM_K = 0), no clusters (TILE_CGA_M = 0), two stages (STAGES = 2).
   */
  static CudnnPlan.@Nullable Engine backwardEngine(
      int computeCapability, CudnnAttentionShape.Gradients gradients) {
    boolean blackwell = computeCapability == 100 || computeCapability == 103;
    return blackwell && gradients == CudnnAttentionShape.Gradients.DETERMINISTIC
        ? new CudnnPlan.Engine(5, List.of(40L, 3L, 41L, 2L, 24L, 2L, 38L, 0L, 27L, 0L, 14L, 2L))
        : null;
  }

  private CudnnGraph forward() {
    CudnnTensor scores = scores();
    nodes.add(
        new CudnnNode.ForwardAttention(
            q(),
            keys(Role.K),
            keys(Role.V),
            output(Role.OUT),
            lse(),
            scale,
            lengthQ,
            lengthKv,
            new CudnnNode.CausalMask(
                scores, scalar(Role.MASKED_SCORE), lengthQ, lengthKv, scores()),
            scores(),
            scores()));
    return new CudnnGraph(nodes);
  }

  private CudnnGraph backward() {
    CudnnTensor q = q();
    CudnnTensor keysT = keys(Role.K).transposed();
    CudnnTensor valuesT = keys(Role.V).transposed();
    CudnnTensor dOut = output(Role.D_OUT);
    CudnnTensor lse = lse();

    // rowSum = sum over headDim of dOut * out
    CudnnTensor product =
        virtual(
            "dOut * out",
            List.of(b(), h(), s(), d()),
            List.of(h() * s() * d(), s() * d(), h() * d(), 1L));
    pointwise(CudnnPointwise.MUL, dOut, output(Role.OUT), product);
    CudnnTensor sum = virtual("sum", List.of(b(), h(), s(), 1L), List.of(h() * s(), s(), 1L, 1L));
    nodes.add(new CudnnNode.SumReduction(product, sum));
    CudnnTensor rowSum = statistics(Role.ROW_SUM);
    pointwise(CudnnPointwise.MUL, sum, scalar(Role.ONE), rowSum);

    // p = exp(mask(scale q k^T) - lse)
    CudnnTensor product2 = scores();
    nodes.add(new CudnnNode.Matmul(q, keysT, product2, lengthQ, lengthKv, null));
    CudnnTensor scaled = pointwise(CudnnPointwise.MUL, product2, scale, scores());
    CudnnTensor padded = padded(scaled);
    CudnnTensor shifted = pointwise(CudnnPointwise.SUB, padded, lse, scores());
    CudnnTensor causal = scores();
    nodes.add(
        new CudnnNode.CausalMask(shifted, scalar(Role.MASKED_SCORE), lengthQ, lengthKv, causal));
    CudnnTensor p = pointwise(CudnnPointwise.EXP, causal, null, scores());

    // dV = p^T dOut
    keyGradient(Role.D_V, Role.D_V_HEADS, p, dOut);

    // dS = scale p (dOut v^T - rowSum)
    CudnnTensor dP = scores();
    nodes.add(new CudnnNode.Matmul(dOut, valuesT, dP, lengthQ, lengthKv, null));
    CudnnTensor centred = pointwise(CudnnPointwise.SUB, dP, rowSum, scores());
    CudnnTensor weighted = pointwise(CudnnPointwise.MUL, centred, p, scores());
    CudnnTensor dS = pointwise(CudnnPointwise.MUL, weighted, scale, scores());

    // dK = dS^T q
    keyGradient(Role.D_K, Role.D_K_HEADS, dS, q);

    // dQ = dS k
    CudnnTensor keys =
        virtual("k", keysT.transposed().dims(), keysT.transposed().strides(), offsetKv);
    nodes.add(new CudnnNode.Reshape(keysT, keys));
    CudnnTensor dQ =
        rows(Role.D_Q, CudnnDataType.BFLOAT16, shape.dQStride(), offset(Role.OFFSET_D_Q));
    if (shape.gradients() == CudnnAttentionShape.Gradients.DETERMINISTIC) {
      nodes.add(new CudnnNode.Matmul(dS, keys, dQ, lengthQ, null, lengthKv));
    } else {
      CudnnTensor dQSum =
          rows(Role.D_Q_SUM, CudnnDataType.FLOAT, shape.dQStride(), offset(Role.OFFSET_D_Q));
      nodes.add(new CudnnNode.Matmul(dS, keys, dQSum, lengthQ, null, lengthKv));
      pointwise(CudnnPointwise.IDENTITY, dQSum, null, dQ);
    }
    return new CudnnGraph(nodes);
  }

  /** scores where row < lengthQ and column < lengthKv, else -infinity. */
  private CudnnTensor padded(CudnnTensor scores) {
    CudnnTensor row = scores(CudnnDataType.INT32);
    nodes.add(new CudnnNode.Pointwise(CudnnPointwise.GEN_INDEX, scores, null, null, row, 2));
    CudnnTensor column = scores(CudnnDataType.INT32);
    nodes.add(new CudnnNode.Pointwise(CudnnPointwise.GEN_INDEX, scores, null, null, column, 3));
    CudnnTensor rowInside =
        pointwise(CudnnPointwise.CMP_LT, row, lengthQ, scores(CudnnDataType.BOOLEAN));
    CudnnTensor columnInside =
        pointwise(CudnnPointwise.CMP_LT, column, lengthKv, scores(CudnnDataType.BOOLEAN));
    CudnnTensor inside =
        pointwise(
            CudnnPointwise.LOGICAL_AND, rowInside, columnInside, scores(CudnnDataType.BOOLEAN));
    CudnnTensor padded = scores();
    nodes.add(
        new CudnnNode.Pointwise(
            CudnnPointwise.BINARY_SELECT, scores, scalar(Role.MASKED_SCORE), inside, padded, -1));
    return padded;
  }

  /** gradient = weights^T rows, added up over the heads of a group. */
  private void keyGradient(Role role, Role headsRole, CudnnTensor weights, CudnnTensor rows) {
    CudnnTensor transposed =
        new CudnnTensor(
            "transposed",
            virtualUid++,
            CudnnDataType.BFLOAT16,
            List.of(b(), h(), s(), s()),
            List.of(h() * s() * s(), s() * s(), 1L, s()),
            CudnnTensor.Storage.VIRTUAL,
            null);
    nodes.add(new CudnnNode.Reshape(weights, transposed));
    CudnnTensor gradient = keys(role);
    if (shape.heads() == shape.kvHeads()) {
      nodes.add(new CudnnNode.Matmul(transposed, rows, gradient, lengthKv, null, lengthQ));
    } else {
      // The offsets of gradient, though its rows are heads / kvHeads as long: cuDNN takes the
      // factor from the strides.
      CudnnTensor perHead =
          device(
              headsRole,
              CudnnDataType.BFLOAT16,
              List.of(b(), h(), s(), d()),
              List.of(s() * h() * d(), d(), h() * d(), 1L),
              offsetKv);
      nodes.add(new CudnnNode.Matmul(transposed, rows, perHead, lengthKv, null, lengthQ));
      nodes.add(new CudnnNode.SumReduction(perHead, gradient));
    }
  }

  private CudnnTensor pointwise(
      CudnnPointwise mode, CudnnTensor x, @Nullable CudnnTensor b, CudnnTensor y) {
    nodes.add(new CudnnNode.Pointwise(mode, x, b, null, y, -1));
    return y;
  }

  private CudnnTensor q() {
    return rows(Role.Q, CudnnDataType.BFLOAT16, shape.qStride(), offsetQ);
  }

  /** A tensor of query rows. */
  private CudnnTensor rows(Role role, CudnnDataType dtype, long rowStride, CudnnTensor offset) {
    return device(
        role,
        dtype,
        List.of(b(), h(), s(), d()),
        List.of(s() * rowStride, d(), rowStride, 1L),
        offset);
  }

  private CudnnTensor output(Role role) {
    return rows(role, CudnnDataType.BFLOAT16, h() * d(), offsetOut);
  }

  /** A tensor of key rows. */
  private CudnnTensor keys(Role role) {
    long kv = shape.kvHeads();
    return device(
        role,
        CudnnDataType.BFLOAT16,
        List.of(b(), kv, s(), d()),
        List.of(s() * kv * d(), d(), kv * d(), 1L),
        offsetKv);
  }

  private CudnnTensor lse() {
    return statistics(Role.LSE);
  }

  /** f32 per query row and head, heads of a row side by side. */
  private CudnnTensor statistics(Role role) {
    return device(
        role,
        CudnnDataType.FLOAT,
        List.of(b(), h(), s(), 1L),
        List.of(h() * s(), 1L, h(), 1L),
        offsetLse);
  }

  private CudnnTensor scores() {
    return scores(CudnnDataType.FLOAT);
  }

  private CudnnTensor scores(CudnnDataType dtype) {
    return new CudnnTensor(
        "scores",
        virtualUid++,
        dtype,
        List.of(b(), h(), s(), s()),
        List.of(h() * s() * s(), s() * s(), s(), 1L),
        CudnnTensor.Storage.VIRTUAL,
        null);
  }

  private CudnnTensor virtual(String name, List<Long> dims, List<Long> strides) {
    return virtual(name, dims, strides, null);
  }

  private CudnnTensor virtual(
      String name, List<Long> dims, List<Long> strides, @Nullable CudnnTensor offset) {
    return new CudnnTensor(
        name,
        virtualUid++,
        CudnnDataType.FLOAT,
        dims,
        strides,
        CudnnTensor.Storage.VIRTUAL,
        offset);
  }

  private CudnnTensor offset(Role role) {
    return perSegment(role, CudnnDataType.INT64, shape.segments() + 1L);
  }

  private static CudnnTensor perSegment(Role role, CudnnDataType dtype, long count) {
    return device(role, dtype, List.of(count, 1L, 1L, 1L), List.of(1L, 1L, 1L, 1L), null);
  }

  private static CudnnTensor scalar(Role role) {
    return new CudnnTensor(
        role.name(),
        role.uid(),
        CudnnDataType.FLOAT,
        List.of(1L, 1L, 1L, 1L),
        List.of(1L, 1L, 1L, 1L),
        CudnnTensor.Storage.HOST_SCALAR,
        null);
  }

  private static CudnnTensor device(
      Role role,
      CudnnDataType dtype,
      List<Long> dims,
      List<Long> strides,
      @Nullable CudnnTensor offset) {
    return new CudnnTensor(
        role.name(), role.uid(), dtype, dims, strides, CudnnTensor.Storage.DEVICE, offset);
  }

  private long b() {
    return shape.segments();
  }

  private long h() {
    return shape.heads();
  }

  private long s() {
    return shape.length();
  }

  private long d() {
    return shape.headDim();
  }
}
