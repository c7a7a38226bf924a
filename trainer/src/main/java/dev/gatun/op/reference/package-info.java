/**
 * The formulas of the ops in double: slow, plain, what the ops are held to. Loops over indices, as
 * each op's documentation has it; matrices are row-major arrays. The contract tests and {@code
 * gatun selftest} compare every backend with them; no backend and no op uses them.
 */
@NullMarked
package dev.gatun.op.reference;

import org.jspecify.annotations.NullMarked;
