package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.CudnnAttentionGraph.Role;
import dev.gatun.backend.CudnnAttentionShape.Gradients;
import dev.gatun.backend.CudnnSegments.Table;
import dev.gatun.bindings.cudnn.Cudnn;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** What is told to cuDNN, checked without it. */
final class CudnnGraphTest {
  private static final AttentionRun RUN = run(DType.BF16, 14, 2, 64, 0, 0, 20, 700);

  private static AttentionRun run(
      DType dtype,
      int heads,
      int kvHeads,
      int headDim,
      float softcap,
      int window,
      int segments,
      int longestKeys) {
    long width = (heads + 2L * kvHeads) * headDim;
    return new AttentionRun(
        dtype,
        heads,
        kvHeads,
        headDim,
        width,
        width,
        0.125f,
        softcap,
        window,
        segments,
        longestKeys,
        4096,
        5000);
  }

  /** The names are those of cudnn_graph.h, with its codes. */
  @Test
  void enumsAreThoseOfTheHeader() throws ReflectiveOperationException {
    for (CudnnAttribute attribute : CudnnAttribute.values()) {
      assertEquals(code(attribute.headerName()), attribute.code(), attribute.headerName());
    }
    for (CudnnDescriptorType type : CudnnDescriptorType.values()) {
      assertEquals(code(type.headerName()), type.code(), type.headerName());
    }
    for (CudnnType type : CudnnType.values()) {
      assertEquals(code(type.headerName()), type.code(), type.headerName());
    }
    for (CudnnDataType type : CudnnDataType.values()) {
      assertEquals(code("CUDNN_DATA_" + type.name()), type.code(), type.name());
    }
    for (CudnnPointwise mode : CudnnPointwise.values()) {
      assertEquals(code("CUDNN_POINTWISE_" + mode.name()), mode.code(), mode.name());
    }
  }

  private static int code(String name) throws ReflectiveOperationException {
    return (int) Cudnn.class.getMethod(name).invoke(null);
  }

  @Test
  void elementsAreEncodedAsCudnnReadsThem() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment booleans = CudnnDescriptor.encode(arena, CudnnType.BOOLEAN, 1, 0, 1);
      assertArrayEquals(new byte[] {1, 0, 1}, booleans.toArray(ValueLayout.JAVA_BYTE));
      MemorySegment enums = CudnnDescriptor.encode(arena, CudnnType.DATA_TYPE, 9, 0);
      assertArrayEquals(new int[] {9, 0}, enums.toArray(ValueLayout.JAVA_INT));
      MemorySegment longs = CudnnDescriptor.encode(arena, CudnnType.INT64, 1L << 40, -1);
      assertArrayEquals(new long[] {1L << 40, -1}, longs.toArray(ValueLayout.JAVA_LONG));
      assertThrows(
          ArithmeticException.class,
          () -> CudnnDescriptor.encode(arena, CudnnType.DATA_TYPE, 1L << 40));
    }
  }

  @Test
  void forwardIsOneOperation() {
    CudnnGraph graph = CudnnAttentionGraph.forward(shape(Gradients.DETERMINISTIC));
    assertEquals(1, graph.nodes().size());
    CudnnNode.ForwardAttention node = (CudnnNode.ForwardAttention) graph.nodes().getFirst();
    // Rows of q lie in fused rows of (14 + 2 * 2) * 64 elements, heads side by side.
    assertEquals(List.of(32L, 14L, 1024L, 64L), node.q().dims());
    assertEquals(List.of(1024L * 1152, 64L, 1152L, 1L), node.q().strides());
    assertEquals(List.of(1024L * 128, 64L, 128L, 1L), node.k().strides());
    assertEquals(List.of(14L * 1024, 1L, 14L, 1L), node.lse().strides());
    assertEquals(
        EnumSet.of(
            Role.Q,
            Role.K,
            Role.V,
            Role.OUT,
            Role.LSE,
            Role.OFFSET_Q,
            Role.OFFSET_OUT,
            Role.OFFSET_KV,
            Role.OFFSET_LSE,
            Role.LENGTH_Q,
            Role.LENGTH_KV,
            Role.SCALE,
            Role.MASKED_SCORE),
        roles(graph));
  }

  /** The nodes and their order, by which cuDNN's engines recognize the graph. */
  @Test
  void backwardIsTheGraphThatEnginesKnow() {
    String beforeDQ =
        "MUL SumReduction MUL Matmul MUL GEN_INDEX GEN_INDEX CMP_LT CMP_LT LOGICAL_AND"
            + " BINARY_SELECT SUB CausalMask EXP Reshape Matmul%s Matmul SUB MUL MUL Reshape"
            + " Matmul%s Reshape Matmul";
    CudnnGraph atomic = CudnnAttentionGraph.backward(shape(Gradients.ATOMIC));
    assertEquals(beforeDQ.formatted(" SumReduction", " SumReduction") + " IDENTITY", names(atomic));
    assertEquals(EnumSet.allOf(Role.class), roles(atomic));

    CudnnGraph deterministic = CudnnAttentionGraph.backward(shape(Gradients.DETERMINISTIC));
    assertEquals(beforeDQ.formatted(" SumReduction", " SumReduction"), names(deterministic));
    assertEquals(EnumSet.complementOf(EnumSet.of(Role.D_Q_SUM)), roles(deterministic));

    CudnnGraph ungrouped =
        CudnnAttentionGraph.backward(
            CudnnAttentionShape.bucket(4, 128, 2, 2, 64, 384, 384, Gradients.ATOMIC));
    assertEquals(beforeDQ.formatted("", "") + " IDENTITY", names(ungrouped));
  }

  private static CudnnAttentionShape shape(Gradients gradients) {
    return CudnnAttentionShape.bucket(20, 700, 14, 2, 64, 1152, 1152, gradients);
  }

  private static String names(CudnnGraph graph) {
    return graph.nodes().stream()
        .map(
            node ->
                node instanceof CudnnNode.Pointwise pointwise
                    ? pointwise.mode().name()
                    : node.getClass().getSimpleName())
        .collect(Collectors.joining(" "));
  }

  private static Set<Role> roles(CudnnGraph graph) {
    return graph.packed().stream()
        .map(Role::of)
        .collect(Collectors.toCollection(() -> EnumSet.noneOf(Role.class)));
  }

  @Test
  void tensorsOfOneNumberAreOneTensor() {
    CudnnTensor x =
        new CudnnTensor(
            "x",
            1,
            CudnnDataType.FLOAT,
            List.of(1L, 1L, 1L, 2L),
            List.of(2L, 2L, 2L, 1L),
            CudnnTensor.Storage.DEVICE,
            null);
    CudnnTensor y =
        new CudnnTensor(
            "y",
            1,
            CudnnDataType.FLOAT,
            List.of(1L, 1L, 1L, 3L),
            List.of(3L, 3L, 3L, 1L),
            CudnnTensor.Storage.DEVICE,
            null);
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new CudnnGraph(
                List.of(new CudnnNode.Pointwise(CudnnPointwise.IDENTITY, x, null, null, y, -1))));
  }

  @Test
  void packsOfLikeSizesShareAPlan() {
    assertEquals(
        "attention-forward-bf16-s32-l1024-h14-k2-e64-q1152", shape(Gradients.ATOMIC).forwardKey());
    assertEquals(
        "attention-backward-bf16-s32-l1024-h14-k2-e64-q1152-d1152-atomic",
        shape(Gradients.ATOMIC).backwardKey());
    List<Integer> buckets = new ArrayList<>();
    for (int segments : new int[] {1, 4, 5, 8, 9, 64}) {
      buckets.add(bucket(segments, 128).segments());
    }
    assertEquals(List.of(4, 4, 8, 8, 16, 64), buckets);
    assertEquals(128, bucket(1, 1).length());
    assertEquals(256, bucket(1, 129).length());
    assertNotEquals(
        shape(Gradients.ATOMIC).backwardKey(), shape(Gradients.DETERMINISTIC).backwardKey());
    assertNotEquals(
        CudnnPlans.fileKey("x", 90, 132, 92_400), CudnnPlans.fileKey("x", 90, 114, 92_400));
    assertNotEquals(
        CudnnPlans.fileKey("x", 90, 132, 92_400), CudnnPlans.fileKey("x", 90, 132, 92_500));
  }

  private static CudnnAttentionShape bucket(int segments, int length) {
    return CudnnAttentionShape.bucket(segments, length, 1, 1, 64, 64, 64, Gradients.ATOMIC);
  }

  /** A pair, given behind another: [prompt 2, chosen 3 | rejected 2] and one answer of 4. */
  @Test
  void segmentsBecomeOffsetsInElements() {
    CudnnAttentionShape shape =
        CudnnAttentionShape.bucket(3, 9, 4, 2, 64, 512, 256, Gradients.ATOMIC);
    CudnnSegments segments = new CudnnSegments(4, shape);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(segments.sizeBytes(), 16);
      segments.write(block, new int[] {7, 4, 9, 4, 0, 5, 0, 5, 5, 2, 5, 4});
      assertOffsets(List.of(0, 5, 7, 11, 11), 512, segments, block, Table.OFFSET_Q);
      assertOffsets(List.of(0, 5, 7, 11, 11), 256, segments, block, Table.OFFSET_D_Q);
      assertOffsets(List.of(0, 5, 7, 11, 11), 4 * 64, segments, block, Table.OFFSET_OUT);
      assertOffsets(List.of(0, 5, 9, 13, 13), 2 * 64, segments, block, Table.OFFSET_KV);
      assertOffsets(List.of(0, 5, 7, 11, 11), 4, segments, block, Table.OFFSET_LSE);
      int[] queries = {5, 2, 4, 0};
      int[] keys = {5, 4, 4, 0};
      for (int s = 0; s < 4; s++) {
        long atQueries = segments.offsetBytes(Table.LENGTH_Q, s);
        assertEquals(queries[s], block.get(ValueLayout.JAVA_INT, atQueries));
        long atKeys = segments.offsetBytes(Table.LENGTH_KV, s);
        assertEquals(keys[s], block.get(ValueLayout.JAVA_INT, atKeys));
      }
      for (Table table : Table.values()) {
        assertEquals(0, segments.offsetBytes(table, 0) % 16, table.name());
      }
      assertRefused("5 segments, reserved for 4", segments, block, new int[20]);
      assertRefused("200 keys, reserved for 128", segments, block, new int[] {0, 5, 0, 200});
      assertRefused("in the order of queries", segments, block, new int[] {0, 2, 4, 2, 2, 2, 0, 2});
    }
  }

  private static void assertOffsets(
      List<Integer> rows, long stride, CudnnSegments segments, MemorySegment block, Table table) {
    for (int i = 0; i < rows.size(); i++) {
      assertEquals(
          rows.get(i) * stride,
          block.get(ValueLayout.JAVA_LONG, segments.offsetBytes(table, i)),
          table.name() + " " + i);
    }
  }

  private static void assertRefused(
      String reason, CudnnSegments segments, MemorySegment block, int[] fields) {
    CudnnUnsupportedException e =
        assertThrows(CudnnUnsupportedException.class, () -> segments.write(block, fields));
    assertTrue(e.getMessage().contains(reason), e.getMessage());
  }

  @Test
  void whatCudnnCannotDoIsRefusedWithTheReason() {
    assertNull(CudnnAttention.unsupported(RUN, 90, Gradients.DETERMINISTIC));
    assertNull(CudnnAttention.unsupported(RUN, 100, Gradients.DETERMINISTIC));
    assertUnsupported("bf16, the run in f32", run(DType.F32, 14, 2, 64, 0, 0, 20, 700), 90);
    assertUnsupported("not on sm_80", RUN, 80);
    assertUnsupported("not on sm_120", RUN, 120);
    assertUnsupported("soft-cap", run(DType.BF16, 14, 2, 64, 50, 0, 20, 700), 90);
    assertUnsupported("one of 512", run(DType.BF16, 14, 2, 64, 0, 512, 20, 700), 90);
    assertUnsupported("head sizes of 64 to 256", run(DType.BF16, 14, 2, 32, 0, 0, 20, 700), 90);
    assertUnsupported("the model has 72", run(DType.BF16, 14, 2, 72, 0, 0, 20, 700), 90);
    assertUnsupported("head sizes of 64 to 128", run(DType.BF16, 14, 2, 256, 0, 0, 20, 700), 100);
    assertNull(
        CudnnAttention.unsupported(
            run(DType.BF16, 14, 2, 256, 0, 0, 20, 700), 90, Gradients.ATOMIC));
    // 4 segments of 8192 x 8192 bf16 scores for 14 heads.
    assertUnsupported("7168 MiB", run(DType.BF16, 14, 2, 64, 0, 0, 20, 8000), 90);
    assertNull(
        CudnnAttention.unsupported(
            run(DType.BF16, 14, 2, 64, 0, 0, 20, 8000), 90, Gradients.ATOMIC));
  }

  private static void assertUnsupported(String reason, AttentionRun run, int computeCapability) {
    String text = CudnnAttention.unsupported(run, computeCapability, Gradients.DETERMINISTIC);
    assertNotNull(text, reason);
    assertTrue(text.contains(reason), text);
  }

  /** 2 GiB hold the scores of 16 segments: 14 heads * 2048 * 2048 * 2 bytes = 112 MiB each. */
  @Test
  void deterministicGradientsTakeSegmentsInGroups() {
    AttentionRun long2048 = run(DType.BF16, 14, 2, 64, 0, 0, 60, 2000);
    assertEquals(64, CudnnAttention.forwardShape(long2048, Gradients.DETERMINISTIC).segments());
    CudnnAttentionShape hopper =
        CudnnAttention.backwardShape(long2048, 90, Gradients.DETERMINISTIC);
    assertNotNull(hopper);
    assertEquals(16, hopper.segments());
    CudnnAttentionShape blackwell =
        CudnnAttention.backwardShape(long2048, 100, Gradients.DETERMINISTIC);
    assertNotNull(blackwell);
    assertEquals(64, blackwell.segments());
  }

  @Test
  void theTimedPackFitsTheRun() {
    int[] fields = AttentionTiming.segments(RUN);
    assertEquals(4 * RUN.segments(), fields.length);
    for (int s = 0; s < RUN.segments(); s++) {
      assertTrue(fields[4 * s] + fields[4 * s + 1] <= RUN.tokens());
      assertTrue(fields[4 * s + 2] + fields[4 * s + 3] <= RUN.keyRows());
      assertTrue(1 <= fields[4 * s + 1] && fields[4 * s + 1] <= fields[4 * s + 3]);
      assertTrue(fields[4 * s + 3] <= RUN.longestKeys());
    }
  }

  @Test
  void choicesAreReadBack() {
    AttentionChoice choice = new AttentionChoice(1.25f, 2.5f);
    assertEquals("cudnn 1.2500 ms, gatun 2.5000 ms", choice.toString());
    assertEquals(choice, AttentionChoice.parse(choice.toString()));
    assertTrue(choice.isCudnn());
    assertNull(AttentionChoice.parse("cudnn"));
    assertEquals(
        "attention-choice-bf16-s32-l1024-h14-k2-e64-q1152-d1152-deterministic-t4096-gatun"
            + GatunNative.GATUN_ABI_VERSION(),
        CudaAttention.choiceKey(RUN));
  }
}
