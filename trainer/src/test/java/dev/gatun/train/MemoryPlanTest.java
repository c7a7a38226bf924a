package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.memory.MemoryExhaustedException;
import dev.gatun.tensor.DType;
import java.util.List;
import org.junit.jupiter.api.Test;

class MemoryPlanTest {
  @Test
  void aRefusalShowsWhatTheRunNeedsAndWhatWouldNeedLess() {
    MemoryPlan plan =
        new MemoryPlan(
            List.of(
                new MemoryPlan.Line("policy", 2_000_000),
                new MemoryPlan.Line("activations", 21_000_000)));
    String message =
        plan.explain(new MemoryExhaustedException("policy", 2_000_000, "cuda:0", 1000, 1 << 20))
            .getMessage();
    assertTrue(message.startsWith("policy: cuda:0 refused 2000000 bytes"), message);
    assertTrue(
        message.contains("memory: policy 2.0 MB, activations 21.0 MB, in all 23.0 MB"), message);
    assertTrue(message.contains("max_tokens_per_pack"), message);
  }

  @Test
  void bytesThatAnOptimizerKeepsForAWeight() {
    assertEquals(8, optimizer(OptimizerType.ADAMW_TORCH, 0, false).bytesPerWeight(DType.F32));
    assertEquals(10, optimizer(OptimizerType.ADAMW_TORCH, 0, false).bytesPerWeight(DType.BF16));
    assertEquals(8, optimizer(OptimizerType.ADAMW_TORCH, 0, true).bytesPerWeight(DType.BF16));
    assertEquals(4, optimizer(OptimizerType.ADAMW_8BIT, 0, false).bytesPerWeight(DType.BF16));
    assertEquals(2, optimizer(OptimizerType.ADAMW_8BIT, 0, true).bytesPerWeight(DType.BF16));
    assertEquals(4, optimizer(OptimizerType.RMSPROP, 0, false).bytesPerWeight(DType.F32));
    assertEquals(8, optimizer(OptimizerType.RMSPROP, 0.9, false).bytesPerWeight(DType.F32));
    assertEquals(0, optimizer(OptimizerType.SGD, 0, false).bytesPerWeight(DType.F32));
    // Norm and scale of the gradient; for moments of 8 bits two scales per block of 256.
    assertEquals(
        8 * 1000 + 8, optimizer(OptimizerType.ADAMW_TORCH, 0, false).sizeBytes(1000, DType.F32));
    assertEquals(
        4 * 1000 + 8 + 2 * 4 * 4,
        optimizer(OptimizerType.ADAMW_8BIT, 0, false).sizeBytes(1000, DType.BF16));
  }

  private static OptimizerConfig optimizer(
      OptimizerType type, double momentum, boolean stochasticRound) {
    return new OptimizerConfig(
        type,
        1e-6,
        OptimizerConfig.DEFAULT_BETA1,
        OptimizerConfig.DEFAULT_BETA2,
        OptimizerConfig.DEFAULT_EPSILON,
        OptimizerConfig.DEFAULT_RMSPROP_ALPHA,
        OptimizerConfig.DEFAULT_EPSILON,
        momentum,
        stochasticRound,
        0,
        1,
        LearningRateSchedule.LINEAR,
        0,
        0);
  }
}
