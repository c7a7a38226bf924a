/**
 * Every op as a training step of a model calls it, one at a time: what a benchmark of ops repeats.
 *
 * <p>An {@link dev.gatun.bench.OpStep} has the sizes of a step and makes tensors of them; an {@link
 * dev.gatun.bench.OpPass} is one op on such tensors, with the bytes that it cannot avoid to move
 * and the floating-point operations that it needs.
 */
@NullMarked
package dev.gatun.bench;

import org.jspecify.annotations.NullMarked;
