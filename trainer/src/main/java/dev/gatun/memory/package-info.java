/** Owned native memory, and the exceptions that every package builds on. */
@NullMarked
package dev.gatun.memory;

import org.jspecify.annotations.NullMarked;
