package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.gatun.backend.Backend;
import dev.gatun.memory.Allocations;
import dev.gatun.selftest.Judge;
import dev.gatun.selftest.Workbench;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/**
 * A {@link Workbench} on the backend of a {@link BackendCase}, which it owns: what the workbench
 * finds fails the test, and {@link #close} checks besides that nothing stays allocated.
 */
final class TestDevice extends Workbench {
  /** Override with {@code -Dgatun.test.seed=...}. */
  private static final long SEED = Long.getLong("gatun.test.seed", 20261121);

  private static final long CAPACITY_BYTES = 24L << 20;

  private final List<Allocations.Allocation> liveBefore;

  private TestDevice(
      BackendCase backendCase, Backend backend, List<Allocations.Allocation> liveBefore) {
    super(backend, backendCase.dtype(), CAPACITY_BYTES, SEED, failing(backendCase));
    this.liveBefore = liveBefore;
  }

  private static Judge failing(BackendCase backendCase) {
    return new Judge() {
      @Override
      public void compared(String row, double fraction) {}

      @Override
      public void failed(String row, String finding) {
        fail(
            row.isEmpty()
                ? backendCase + ": " + finding
                : backendCase + " " + row + ": " + finding);
      }
    };
  }

  private static TestDevice open(BackendCase backendCase, int threads) {
    Allocations.track(true);
    List<Allocations.Allocation> liveBefore = Allocations.live();
    return new TestDevice(backendCase, backendCase.open(threads), liveBefore);
  }

  /** A device with two threads. */
  static TestDevice open(BackendCase backendCase) {
    return open(backendCase, 2);
  }

  /** Runs a body with 1 and with 3 threads, and requires the same bits of all tensors after it. */
  static void sameBitsWhateverTheThreads(BackendCase backendCase, Consumer<TestDevice> body) {
    List<Bits> serial = bitsAfter(backendCase, 1, body);
    List<Bits> parallel = bitsAfter(backendCase, 3, body);
    assertEquals(serial.size(), parallel.size(), "tensors");
    for (int i = 0; i < serial.size(); i++) {
      int at = Arrays.mismatch(serial.get(i).bytes(), parallel.get(i).bytes());
      String tensor = serial.get(i).tensor();
      assertEquals(
          -1, at, () -> tensor + " differs between 1 and 3 threads from byte " + at + " on");
    }
  }

  private static List<Bits> bitsAfter(
      BackendCase backendCase, int threads, Consumer<TestDevice> body) {
    try (TestDevice device = open(backendCase, threads)) {
      body.accept(device);
      return device.bits();
    }
  }

  /** Checks canaries and leaks. */
  @Override
  public void close() {
    try {
      super.close();
    } finally {
      backend().close();
    }
    assertEquals(liveBefore, Allocations.live(), "buffers that are still open");
  }
}
