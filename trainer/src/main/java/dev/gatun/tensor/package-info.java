/** Names, types and shapes over native memory. No arithmetic. */
@NullMarked
package dev.gatun.tensor;

import org.jspecify.annotations.NullMarked;
