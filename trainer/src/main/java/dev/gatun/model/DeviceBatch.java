package dev.gatun.model;

import dev.gatun.backend.Backend;
import dev.gatun.op.Segments;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;

/** A {@link PackedBatch} on the device: the same arrays as i32 tensors. */
public record DeviceBatch(
    PackedBatch host,
    Tensor tokenIds,
    Tensor positions,
    Tensor keyRows,
    Tensor keyCopyRows,
    Segments segments,
    Segments lastSegments,
    Tensor rows,
    Tensor predictionBegin,
    Tensor targets,
    Tensor byAnswer,
    Tensor byRow,
    Tensor rowByAnswer,
    Tensor answerBegin) {

  /** Copies the batch into tensors of the step slab. */
  public static DeviceBatch upload(Backend backend, Slab slab, PackedBatch batch) {
    return upload(backend, slab, batch, BatchShape.of(batch, 0));
  }

  /**
   * Copies the batch into tensors of the step slab.
   *
   * @param room what the slab gives, however much the batch takes: where it begins and ends does
   *     not differ from batch to batch, so what is computed from it can be replayed
   */
  public static DeviceBatch upload(Backend backend, Slab slab, PackedBatch batch, BatchShape room) {
    int tokens = room.tokens();
    int predictions = room.predictions();
    return new DeviceBatch(
        batch,
        upload(backend, slab, "token ids", tokens, batch.tokenIds()),
        upload(backend, slab, "positions", tokens, batch.positions()),
        upload(backend, slab, "key rows", tokens, batch.keyRows()),
        upload(backend, slab, "key copy rows", tokens, batch.keyCopyRows()),
        Segments.upload(
            backend,
            Segments.allocate(slab, room.segments()).rows(0, batch.numSegments()),
            batch.segments()),
        Segments.upload(
            backend,
            Segments.allocate(slab, room.segments()).rows(0, batch.numSegments()),
            batch.lastSegments()),
        upload(backend, slab, "rows", room.rows(), batch.rows()),
        upload(backend, slab, "prediction begin", room.rows() + 1, batch.predictionBegin()),
        upload(backend, slab, "targets", predictions, batch.targets()),
        upload(backend, slab, "by answer", predictions, batch.byAnswer()),
        upload(backend, slab, "by row", predictions, batch.byRow()),
        upload(backend, slab, "row by answer", predictions, batch.rowByAnswer()),
        upload(backend, slab, "answer begin", room.answers() + 1, batch.answerBegin()));
  }

  /** Counts, on a planning slab, what {@link #upload} takes for a batch of this shape. */
  public static void plan(Slab planner, BatchShape shape) {
    for (int i = 0; i < 4; i++) {
      planner.allocate("per token", DType.I32, shape.tokens());
    }
    Segments.allocate(planner, shape.segments());
    Segments.allocate(planner, shape.segments());
    planner.allocate("rows", DType.I32, shape.rows());
    planner.allocate("prediction begin", DType.I32, shape.rows() + 1L);
    for (int i = 0; i < 4; i++) {
      planner.allocate("per prediction", DType.I32, shape.predictions());
    }
    planner.allocate("answer begin", DType.I32, shape.answers() + 1L);
  }

  private static Tensor upload(Backend backend, Slab slab, String name, int room, int[] values) {
    Tensor tensor = slab.allocate(name, DType.I32, room).rows(0, values.length);
    backend.upload(tensor, values);
    return tensor;
  }
}
