/**
 * One final class per op. A facade checks types and shapes once, takes extents from shapes and
 * strides from {@code rowStride()}, and calls the backend. Nothing here allocates on the device.
 *
 * <p>Words of shapes: {@code tokens} rows of a packed batch, {@code hidden}, {@code vocab}, {@code
 * heads}, {@code headDim}. {@code dX} is the gradient of {@code x}. Gradients of activations
 * overwrite; gradients of parameters are f32 and accumulate. A mismatch is an {@link
 * java.lang.IllegalArgumentException}: {@code rmsnorm: x is [128, 4096] bf16, expected [tokens=128,
 * hidden=2048] bf16}.
 */
@NullMarked
package dev.gatun.op;

import org.jspecify.annotations.NullMarked;
