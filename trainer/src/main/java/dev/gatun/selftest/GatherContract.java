package dev.gatun.selftest;

import dev.gatun.op.Gather;
import dev.gatun.op.reference.GatherReference;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;

/** What {@link Gather} must do. */
public final class GatherContract {
  private GatherContract() {}

  static List<OpCase> cases(Extent extent) {
    List<OpCase> cases = new ArrayList<>();
    for (int hidden : extent.widths()) {
      for (int tokens : extent.rows(hidden)) {
        String form = "[%d, %d]".formatted(tokens, hidden);
        cases.add(new OpCase(form, bench -> check(bench, tokens, hidden)));
      }
    }
    return cases;
  }

  /** Both passes, with half of the rows in random order: copies, so exact. */
  public static void check(Workbench bench, int tokens, int hidden) {
    bench.runs("gather_forward");
    List<Integer> order = new ArrayList<>(IntStream.range(0, tokens).boxed().toList());
    Collections.shuffle(order, bench.random());
    int[] picked =
        order.subList(0, (tokens + 1) / 2).stream().mapToInt(Integer::intValue).toArray();
    Tensor rows = bench.given("rows", picked);
    Tensor x = bench.normal("x", bench.dtype(), tokens, hidden);
    Tensor y = bench.output("y", bench.dtype(), picked.length, hidden);
    Gather.forward(bench.backend(), y, x, rows);
    bench.assertExact(y, GatherReference.forward(bench.values(x), picked, hidden));

    bench.runs("gather_backward");
    Tensor dY = bench.normal("dY", bench.dtype(), picked.length, hidden);
    Tensor dX = bench.output("dX", bench.dtype(), tokens, hidden);
    Gather.backward(bench.backend(), dX, dY, rows);
    bench.assertExact(dX, GatherReference.backward(bench.values(dY), picked, tokens, hidden));
  }
}
