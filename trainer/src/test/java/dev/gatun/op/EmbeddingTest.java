package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.NativeException;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class EmbeddingTest {
  private static final int VOCAB = 11;
  private static final int POSITIONS = 7;

  private static int[] integers(TestDevice device, int count, int bound) {
    return device.random().ints(count, 0, bound).toArray();
  }

  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int hidden : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (boolean positional : new boolean[] {false, true}) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            check(device, tokens, hidden, positional, 1.7f);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(backendCase, device -> check(device, 509, 259, true, 1));
  }

  private static void check(
      TestDevice device, int tokens, int hidden, boolean positional, float scale) {
    int[] ids = integers(device, tokens, VOCAB);
    int[] positions = integers(device, tokens, POSITIONS);
    Tensor tokenIds = device.given("tokenIds", ids);
    Tensor positionIds = device.given("positions", positions);
    Tensor table = device.normal("table", device.dtype(), VOCAB, hidden);
    Tensor positionTable =
        positional ? device.normal("positions", device.dtype(), POSITIONS, hidden) : null;
    Tensor y = device.output("y", device.dtype(), tokens, hidden);
    Embedding.forward(device.backend(), y, table, positionTable, tokenIds, positionIds, scale);

    double[] tables = device.values(table);
    double[] positionTables =
        positionTable == null ? new double[POSITIONS * hidden] : device.values(positionTable);
    double[] expected = new double[tokens * hidden];
    for (int i = 0; i < expected.length; i++) {
      int t = i / hidden;
      expected[i] = scale * tables[ids[t] * hidden + i % hidden];
      expected[i] += positionTables[positions[t] * hidden + i % hidden];
    }
    device.assertClose(y, expected, 2, 16); // One product and one sum; normal values below 5.

    Tensor dY = device.normal("dY", device.dtype(), tokens, hidden);
    Tensor dTable = device.normal("dTable", DType.F32, VOCAB, hidden);
    Tensor dPositionTable =
        positional ? device.normal("dPositionTable", DType.F32, POSITIONS, hidden) : null;
    double[] dYs = device.values(dY);
    double[] expectedDTable = device.values(dTable);
    double[] expectedDPositions =
        dPositionTable == null ? new double[POSITIONS * hidden] : device.values(dPositionTable);
    for (int i = 0; i < dYs.length; i++) {
      expectedDTable[ids[i / hidden] * hidden + i % hidden] += scale * dYs[i];
      expectedDPositions[positions[i / hidden] * hidden + i % hidden] += dYs[i];
    }
    Embedding.backward(device.backend(), dTable, dPositionTable, dY, tokenIds, positionIds, scale);
    // At most `tokens` products and additions to one element.
    double magnitude = (tokens + 1) * 5 * scale;
    device.assertClose(dTable, expectedDTable, 2 * tokens, magnitude);
    if (dPositionTable != null) {
      device.assertClose(dPositionTable, expectedDPositions, 2 * tokens, magnitude);
    }
  }

  @Test
  void idsOutsideTheTableAreRefused() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor table = device.normal("table", DType.F32, 3, 4);
      Tensor y = device.output("y", DType.F32, 2, 4);
      Tensor positions = device.given("positions", 0, 0);
      for (int id : new int[] {-1, 3}) {
        Tensor ids = device.given("ids", 1, id);
        NativeException e =
            assertThrows(
                NativeException.class,
                () -> Embedding.forward(device.backend(), y, table, null, ids, positions, 1));
        assertEquals("embedding_forward", e.function());
        assertTrue(
            e.getMessage().startsWith("embedding_forward: GATUN_INVALID_ARGUMENT (1): "),
            e.getMessage());
        assertTrue(e.getMessage().contains("token_ids[1] is " + id), e.getMessage());
      }
    }
  }

  @Test
  void mismatchesSayWhatWasExpected() {
    try (TestDevice device = TestDevice.open(BackendCase.all().getFirst())) {
      Tensor table = device.normal("table", DType.F32, 3, 4);
      Tensor y = device.output("y", DType.F32, 2, 5);
      Tensor ids = device.given("ids", 0, 1);
      assertEquals(
          "embedding: table is [3, 4] f32, expected [vocab=3, hidden=5] f32",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> Embedding.forward(device.backend(), y, table, null, ids, ids, 1))
              .getMessage());
      assertEquals(
          "embedding: y is [8] f32, expected [tokens, hidden] f32",
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      Embedding.forward(
                          device.backend(), table.view("y", 0, 8), table, null, ids, ids, 1))
              .getMessage());
    }
  }
}
