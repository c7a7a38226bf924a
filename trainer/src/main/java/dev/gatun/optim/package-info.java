/** Optimizers: one pass over the slabs of weights, moments and gradients. */
@NullMarked
package dev.gatun.optim;

import org.jspecify.annotations.NullMarked;
