/*
 * gatun_cpu.h: what the CPU library offers besides the kernel table: the table itself, matrix products, and its thread pool.
 * Rules of gatun_kernels.h apply.
 */
#ifndef GATUN_CPU_H
#define GATUN_CPU_H

#include "gatun_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The table of the best instruction set that this CPU has, or of `isa` ("v2", "v3", "v4", "v4-bf16": x86-64 levels; "generic" elsewhere).
 * NULL: best. Returns NULL, with last_error set, if the CPU or this build lacks it. The table is static. */
const struct gatun_kernels *gatun_cpu_kernels(const char *isa);

/* Name of the instruction set whose table gatun_cpu_kernels(NULL) returns. Static text. */
const char *gatun_cpu_isa(void);

/* Text of the calling thread's last failure in this library. */
const char *gatun_cpu_last_error(void);

/* Threads used by kernels and matrix products: one OpenMP pool for both. Results do not depend on it. */
int32_t gatun_cpu_set_threads(int32_t threads);
int32_t gatun_cpu_threads(void);

/* C[m, n] = op(A)[m, k] op(B)[k, n] + bias[n] + beta C, row-major, sums in f32.
 * transpose_a: A is stored [k, m]; transpose_b: B is stored [n, k]. lda, ldb, ldc: elements between rows as stored. beta is 0 or 1.
 * bias [n] [opt], of ab_dtype. (ab, c) types: (f32, f32), (bf16, bf16), (bf16, f32).
 * The order of the sums depends on the shape alone, so results do not depend on threads: own packed kernels, whose sums have the same order in
 * any tile, or one single-threaded oneDNN product per tile (few rows; bf16 with AMX or without VDPBF16PS). */
int32_t gatun_cpu_matmul(void *c, const void *a, const void *b, const void *bias, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                         int64_t ldc, int32_t transpose_a, int32_t transpose_b, float beta, int32_t ab_dtype, int32_t c_dtype);

#ifdef __cplusplus
}
#endif

#endif
