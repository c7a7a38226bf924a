/*
 * gatun_device.h: what a library of CUDA kernels offers besides the kernel table. Two libraries are built from the same sources:
 *   libgatun_cuda.so   for NVIDIA GPUs, by nvcc; uses libcudart, so its streams and memory are the CUDA runtime's
 *   libgatun_simt.so   for tests on any machine: the kernels run on the CPU as blocks, warps and lanes, over test doubles that export the
 *                      CUDA runtime's and cuBLASLt's functions by their own names
 * A process loads one of them. Rules of gatun_kernels.h apply; `stream` is a cudaStream_t, and a row returns when its work is enqueued.
 */
#ifndef GATUN_DEVICE_H
#define GATUN_DEVICE_H

#include "gatun_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's table, static. Each library has the one that bears its name. */
const struct gatun_kernels *gatun_cuda_kernels(void);
const struct gatun_kernels *gatun_simt_kernels(void);

/* Text of the calling thread's last failure in this library. */
const char *gatun_device_last_error(void);

/* on != 0: every row waits for its work, so that a failure is reported by the row that caused it. For finding errors; slow. */
int32_t gatun_device_set_debug_sync(int32_t on);

/* NVTX ranges of the calling thread, as profilers show them. Every row opens one with its own name. */
void gatun_device_range_push(const char *name);
void gatun_device_range_pop(void);

#ifdef __cplusplus
}
#endif

#endif
