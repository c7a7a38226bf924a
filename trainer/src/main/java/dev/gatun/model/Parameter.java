package dev.gatun.model;

/**
 * One trainable tensor of a model.
 *
 * @param name the Hugging Face tensor name
 * @param shape as Hugging Face stores it: {@code [out, in]} for linear layers, {@code [in, out]}
 *     for GPT-2's
 * @param offset first element inside the slab of its role, in elements
 */
public record Parameter(String name, long[] shape, long offset) {
  public long elementCount() {
    long count = 1;
    for (long dim : shape) {
      count = Math.multiplyExact(count, dim);
    }
    return count;
  }
}
