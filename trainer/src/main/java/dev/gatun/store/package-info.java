/** Reference log-probabilities, kept between runs: keys, values and the file that holds them. */
@NullMarked
package dev.gatun.store;

import org.jspecify.annotations.NullMarked;
