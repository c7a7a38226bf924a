/** Training runs: their configuration, and the trainers that carry them out. */
@NullMarked
package dev.gatun.train;

import org.jspecify.annotations.NullMarked;
