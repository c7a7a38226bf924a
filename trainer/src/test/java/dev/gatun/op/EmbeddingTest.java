package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.backend.NativeException;
import dev.gatun.selftest.EmbeddingContract;
import dev.gatun.selftest.EmbeddingContract.Positions;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class EmbeddingTest {
  @BackendTest
  void bothPassesOfAllSizes(BackendCase backendCase) {
    for (int hidden : Sizes.ROW) {
      for (int tokens : Sizes.ROWS) {
        for (Positions positions : Positions.values()) {
          try (TestDevice device = TestDevice.open(backendCase)) {
            EmbeddingContract.check(device, tokens, hidden, positions, 1.7f);
          }
        }
      }
    }
  }

  @BackendTest
  void sameBitsWhateverTheThreads(BackendCase backendCase) {
    TestDevice.sameBitsWhateverTheThreads(
        backendCase, device -> EmbeddingContract.check(device, 509, 259, Positions.LEARNED, 1));
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
