/**
 * The ops in double precision, naive and obviously right: loops over indices, formulas as the op's
 * documentation gives them. Matrices are row-major arrays.
 */
package dev.gatun.op.reference;
