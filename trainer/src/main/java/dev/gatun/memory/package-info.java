/** Owned native memory, and what every exception of Gatun has in common. */
@NullMarked
package dev.gatun.memory;

import org.jspecify.annotations.NullMarked;
