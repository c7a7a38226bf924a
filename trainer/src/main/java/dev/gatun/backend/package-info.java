/**
 * Devices: memory, matrix products, and the kernel table. The only package that sees the native
 * bindings.
 */
@NullMarked
package dev.gatun.backend;

import org.jspecify.annotations.NullMarked;
