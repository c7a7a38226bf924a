package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RangeClockTest {
  @Test
  void aRangeHasWhatNoRangeInsideItHas() {
    RangeClock clock = new RangeClock();
    clock.begin("step", 100);
    clock.begin("forward", 110);
    clock.end(140);
    clock.begin("head", 141);
    clock.begin("loss", 150);
    clock.end(152);
    clock.end(160);
    clock.end(200);
    clock.begin("step", 1000);
    clock.begin("forward", 1000);
    clock.end(1001);
    clock.end(1001);
    RangeTimes times = clock.times();
    // Steps: 10 before forward, 1 after it, 40 after head; of the second nothing.
    assertEquals(Map.of("step", 51L, "forward", 31L, "head", 17L, "loss", 2L), times.nanos());
    assertEquals(List.of("step", "forward", "head", "loss"), List.copyOf(times.nanos().keySet()));
    assertEquals(101, times.totalNanos());
  }

  @Test
  void anEndWithoutABeginIsNobodys() {
    RangeClock clock = new RangeClock();
    clock.end(5);
    clock.begin("step", 7);
    clock.end(9);
    assertEquals(Map.of("step", 2L), clock.times().nanos());
  }
}
