/*
 * device: what the library offers besides its rows (gatun_device.h).
 */
#include <atomic>

#include "device.h"
#include "guard.h"
#include "rows.h"

#if defined(__CUDACC__)
#include <nvtx3/nvToolsExt.h>
#endif
#define GATUN_EXPORT extern "C" __attribute__((visibility("default")))

namespace gatun::GATUN_ISA {
namespace {
std::atomic<bool> debug_sync{false};
}

void check_launches(cudaStream_t stream) {
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess && debug_sync.load(std::memory_order_relaxed)) error = cudaStreamSynchronize(stream);
  if (error != cudaSuccess) failed("%s (%d): %s", cudaGetErrorName(error), static_cast<int>(error), cudaGetErrorString(error));
}

}  // namespace gatun::GATUN_ISA

#if defined(__CUDACC__)
GATUN_EXPORT const gatun_kernels *gatun_cuda_kernels(void) {
#else
GATUN_EXPORT const gatun_kernels *gatun_simt_kernels(void) {
#endif
  return &gatun::GATUN_ISA::kernel_table;
}

GATUN_EXPORT const char *gatun_device_last_error(void) {
  return gatun::last_failure();
}

GATUN_EXPORT int32_t gatun_device_set_debug_sync(int32_t on) {
  gatun::GATUN_ISA::debug_sync = on != 0;
  return GATUN_OK;
}

GATUN_EXPORT void gatun_device_range_push(const char *name) {
#if defined(__CUDACC__)
  nvtxRangePushA(name);
#else
  (void)name;
#endif
}

GATUN_EXPORT void gatun_device_range_pop(void) {
#if defined(__CUDACC__)
  nvtxRangePop();
#endif
}
