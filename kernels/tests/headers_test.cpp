/*
 * The declarations that the doubles are written against, held to NVIDIA's headers of CUDA 13: every value, size, offset and signature.
 * Compiled where those headers are; there is nothing to run. (GATUN_WITH_CUBLASLT: cublasLt.h is there too.)
 */
#include <cstddef>
#include <cstdint>
#include <type_traits>

// The doubles' declarations, in a namespace, where they declare other functions than NVIDIA's.
#define GATUN_SIMT_EXPORT
namespace doubles {
#include "cublaslt_api.h"
// Macros in NVIDIA's header, which would replace these names.
constexpr unsigned kFlags[] = {cudaHostAllocDefault,  cudaHostAllocPortable, cudaHostAllocMapped,   cudaHostAllocWriteCombined, cudaStreamDefault,
                               cudaStreamNonBlocking, cudaEventDefault,      cudaEventBlockingSync, cudaEventDisableTiming};
}  // namespace doubles

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>
#ifdef GATUN_WITH_CUBLASLT
#include <cublasLt.h>
#endif

namespace {

constexpr unsigned kFlags[] = {cudaHostAllocDefault,  cudaHostAllocPortable, cudaHostAllocMapped,   cudaHostAllocWriteCombined, cudaStreamDefault,
                               cudaStreamNonBlocking, cudaEventDefault,      cudaEventBlockingSync, cudaEventDisableTiming};
constexpr bool flags_agree() {
  for (size_t i = 0; i < sizeof kFlags / sizeof kFlags[0]; ++i) {
    if (kFlags[i] != doubles::kFlags[i]) return false;
  }
  return sizeof kFlags == sizeof doubles::kFlags;
}
static_assert(flags_agree());

/** Whether a caller of Theirs calls Ours right: the same type, or an enum of the same kind of integer, or a pointer to a struct of its own. */
template <class Ours, class Theirs>
constexpr bool agree() {
  if constexpr (std::is_same_v<Ours, Theirs>) {
    return true;
  } else if constexpr (std::is_enum_v<Ours> && std::is_enum_v<Theirs>) {
    return std::is_same_v<std::underlying_type_t<Ours>, std::underlying_type_t<Theirs>>;
  } else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using OurTarget = std::remove_pointer_t<Ours>;
    using TheirTarget = std::remove_pointer_t<Theirs>;
    return std::is_const_v<OurTarget> == std::is_const_v<TheirTarget> && agree<std::remove_cv_t<OurTarget>, std::remove_cv_t<TheirTarget>>();
  } else {
    return std::is_class_v<Ours> && std::is_class_v<Theirs>;
  }
}

template <class Ours, class Theirs>
struct Signatures;
template <class OurResult, class... Ours, class TheirResult, class... Theirs>
struct Signatures<OurResult(Ours...), TheirResult(Theirs...)> {
  static constexpr bool agree() {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return ::agree<OurResult, TheirResult>() && (::agree<Ours, Theirs>() && ...);
    }
  }
};
static_assert(!Signatures<int(int), int(long)>::agree() && !Signatures<int(int), int(int, int)>::agree() && !agree<void *, const void *>());

#define SIGNATURE(name) static_assert(Signatures<decltype(doubles::name), decltype(::name)>::agree(), #name);
#define VALUE(name) static_assert(static_cast<long long>(doubles::name) == static_cast<long long>(::name), #name);

SIGNATURE(cudaGetDeviceCount)
SIGNATURE(cudaSetDevice)
SIGNATURE(cudaGetDevice)
SIGNATURE(cudaGetDeviceProperties)
SIGNATURE(cudaDeviceGetAttribute)
SIGNATURE(cudaDeviceGetPCIBusId)
SIGNATURE(cudaDeviceSynchronize)
SIGNATURE(cudaDeviceReset)
SIGNATURE(cudaDriverGetVersion)
SIGNATURE(cudaRuntimeGetVersion)
SIGNATURE(cudaMemGetInfo)
SIGNATURE(cudaFree)
SIGNATURE(cudaFreeHost)
SIGNATURE(cudaMemcpyAsync)
SIGNATURE(cudaMemsetAsync)
SIGNATURE(cudaStreamCreateWithFlags)
SIGNATURE(cudaStreamDestroy)
SIGNATURE(cudaStreamSynchronize)
SIGNATURE(cudaStreamWaitEvent)
SIGNATURE(cudaEventCreateWithFlags)
SIGNATURE(cudaEventDestroy)
SIGNATURE(cudaEventRecord)
SIGNATURE(cudaEventSynchronize)
SIGNATURE(cudaEventQuery)
SIGNATURE(cudaEventElapsedTime)
SIGNATURE(cudaStreamBeginCapture)
SIGNATURE(cudaStreamEndCapture)
SIGNATURE(cudaGraphInstantiate)
SIGNATURE(cudaGraphLaunch)
SIGNATURE(cudaGraphDestroy)
SIGNATURE(cudaGraphExecDestroy)
SIGNATURE(cudaGetLastError)
SIGNATURE(cudaGetErrorName)
SIGNATURE(cudaGetErrorString)
SIGNATURE(cudaProfilerStart)
SIGNATURE(cudaProfilerStop)
SIGNATURE(cudaMalloc)
SIGNATURE(cudaHostAlloc)

VALUE(cudaSuccess)
VALUE(cudaErrorInvalidValue)
VALUE(cudaErrorMemoryAllocation)
VALUE(cudaErrorInitializationError)
VALUE(cudaErrorInvalidConfiguration)
VALUE(cudaErrorInvalidMemcpyDirection)
VALUE(cudaErrorInsufficientDriver)
VALUE(cudaErrorInvalidDeviceFunction)
VALUE(cudaErrorNoDevice)
VALUE(cudaErrorInvalidDevice)
VALUE(cudaErrorNoKernelImageForDevice)
VALUE(cudaErrorInvalidResourceHandle)
VALUE(cudaErrorIllegalState)
VALUE(cudaErrorNotReady)
VALUE(cudaErrorIllegalAddress)
VALUE(cudaErrorLaunchOutOfResources)
VALUE(cudaErrorLaunchTimeout)
VALUE(cudaErrorAssert)
VALUE(cudaErrorIllegalInstruction)
VALUE(cudaErrorMisalignedAddress)
VALUE(cudaErrorLaunchFailure)
VALUE(cudaErrorNotPermitted)
VALUE(cudaErrorNotSupported)
VALUE(cudaErrorStreamCaptureUnsupported)
VALUE(cudaErrorStreamCaptureInvalidated)
VALUE(cudaErrorStreamCaptureUnmatched)
VALUE(cudaErrorStreamCaptureUnjoined)
VALUE(cudaErrorStreamCaptureIsolation)
VALUE(cudaErrorStreamCaptureImplicit)
VALUE(cudaErrorCapturedEvent)
VALUE(cudaErrorStreamCaptureWrongThread)
VALUE(cudaErrorUnknown)
VALUE(cudaMemcpyHostToHost)
VALUE(cudaMemcpyHostToDevice)
VALUE(cudaMemcpyDeviceToHost)
VALUE(cudaMemcpyDeviceToDevice)
VALUE(cudaMemcpyDefault)
VALUE(cudaStreamCaptureModeGlobal)
VALUE(cudaStreamCaptureModeThreadLocal)
VALUE(cudaStreamCaptureModeRelaxed)
VALUE(cudaDevAttrMaxThreadsPerBlock)
VALUE(cudaDevAttrMaxBlockDimX)
VALUE(cudaDevAttrMaxBlockDimY)
VALUE(cudaDevAttrMaxBlockDimZ)
VALUE(cudaDevAttrMaxGridDimX)
VALUE(cudaDevAttrMaxGridDimY)
VALUE(cudaDevAttrMaxGridDimZ)
VALUE(cudaDevAttrMaxSharedMemoryPerBlock)
VALUE(cudaDevAttrWarpSize)
VALUE(cudaDevAttrMaxRegistersPerBlock)
VALUE(cudaDevAttrClockRate)
VALUE(cudaDevAttrMultiProcessorCount)
VALUE(cudaDevAttrIntegrated)
VALUE(cudaDevAttrComputeMode)
VALUE(cudaDevAttrConcurrentKernels)
VALUE(cudaDevAttrEccEnabled)
VALUE(cudaDevAttrMemoryClockRate)
VALUE(cudaDevAttrGlobalMemoryBusWidth)
VALUE(cudaDevAttrL2CacheSize)
VALUE(cudaDevAttrMaxThreadsPerMultiProcessor)
VALUE(cudaDevAttrAsyncEngineCount)
VALUE(cudaDevAttrUnifiedAddressing)
VALUE(cudaDevAttrComputeCapabilityMajor)
VALUE(cudaDevAttrComputeCapabilityMinor)
VALUE(cudaDevAttrMaxSharedMemoryPerMultiprocessor)
VALUE(cudaDevAttrMaxRegistersPerMultiprocessor)
VALUE(cudaDevAttrCooperativeLaunch)
VALUE(cudaDevAttrMaxSharedMemoryPerBlockOptin)
VALUE(cudaDevAttrMaxBlocksPerMultiprocessor)

static_assert(sizeof(doubles::cudaDeviceProp) == sizeof(::cudaDeviceProp) && alignof(doubles::cudaDeviceProp) == alignof(::cudaDeviceProp));
#define FIELD(field, offset, type) \
  static_assert(doubles::offset_of_##field == offsetof(::cudaDeviceProp, field) && sizeof(type) == sizeof(::cudaDeviceProp::field), #field);
GATUN_SIMT_PROPERTIES(FIELD)

#ifdef GATUN_WITH_CUBLASLT
SIGNATURE(cublasLtCreate)
SIGNATURE(cublasLtDestroy)
SIGNATURE(cublasLtGetVersion)
SIGNATURE(cublasLtGetStatusName)
SIGNATURE(cublasLtGetStatusString)
SIGNATURE(cublasLtMatrixLayoutCreate)
SIGNATURE(cublasLtMatrixLayoutDestroy)
SIGNATURE(cublasLtMatrixLayoutSetAttribute)
SIGNATURE(cublasLtMatmulDescCreate)
SIGNATURE(cublasLtMatmulDescDestroy)
SIGNATURE(cublasLtMatmulDescSetAttribute)
SIGNATURE(cublasLtMatmulPreferenceCreate)
SIGNATURE(cublasLtMatmulPreferenceDestroy)
SIGNATURE(cublasLtMatmulPreferenceSetAttribute)
SIGNATURE(cublasLtMatmulAlgoGetHeuristic)
SIGNATURE(cublasLtMatmul)

VALUE(CUBLAS_STATUS_SUCCESS)
VALUE(CUBLAS_STATUS_NOT_INITIALIZED)
VALUE(CUBLAS_STATUS_ALLOC_FAILED)
VALUE(CUBLAS_STATUS_INVALID_VALUE)
VALUE(CUBLAS_STATUS_ARCH_MISMATCH)
VALUE(CUBLAS_STATUS_MAPPING_ERROR)
VALUE(CUBLAS_STATUS_EXECUTION_FAILED)
VALUE(CUBLAS_STATUS_INTERNAL_ERROR)
VALUE(CUBLAS_STATUS_NOT_SUPPORTED)
VALUE(CUBLAS_STATUS_LICENSE_ERROR)
VALUE(CUDA_R_32F)
VALUE(CUDA_R_64F)
VALUE(CUDA_R_16F)
VALUE(CUDA_R_16BF)
VALUE(CUBLAS_COMPUTE_32F)
VALUE(CUBLAS_COMPUTE_32F_FAST_TF32)
VALUE(CUBLAS_OP_N)
VALUE(CUBLAS_OP_T)
VALUE(CUBLAS_OP_C)
VALUE(CUBLASLT_ORDER_COL)
VALUE(CUBLASLT_ORDER_ROW)
VALUE(CUBLASLT_POINTER_MODE_HOST)
VALUE(CUBLASLT_EPILOGUE_DEFAULT)
VALUE(CUBLASLT_EPILOGUE_BIAS)
VALUE(CUBLASLT_REDUCTION_SCHEME_NONE)
VALUE(CUBLASLT_REDUCTION_SCHEME_INPLACE)
VALUE(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
VALUE(CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE)
VALUE(CUBLASLT_REDUCTION_SCHEME_MASK)
VALUE(CUBLASLT_SEARCH_BEST_FIT)
VALUE(CUBLASLT_MATRIX_LAYOUT_TYPE)
VALUE(CUBLASLT_MATRIX_LAYOUT_ORDER)
VALUE(CUBLASLT_MATRIX_LAYOUT_ROWS)
VALUE(CUBLASLT_MATRIX_LAYOUT_COLS)
VALUE(CUBLASLT_MATRIX_LAYOUT_LD)
VALUE(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
VALUE(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
VALUE(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE)
VALUE(CUBLASLT_MATMUL_DESC_SCALE_TYPE)
VALUE(CUBLASLT_MATMUL_DESC_POINTER_MODE)
VALUE(CUBLASLT_MATMUL_DESC_TRANSA)
VALUE(CUBLASLT_MATMUL_DESC_TRANSB)
VALUE(CUBLASLT_MATMUL_DESC_TRANSC)
VALUE(CUBLASLT_MATMUL_DESC_EPILOGUE)
VALUE(CUBLASLT_MATMUL_DESC_BIAS_POINTER)
VALUE(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET)
VALUE(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE)
VALUE(CUBLASLT_MATMUL_PREF_SEARCH_MODE)
VALUE(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
VALUE(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)
VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES)
VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
VALUE(CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT)

#define LAYOUT(type, field)                                                                                                           \
  static_assert(offsetof(doubles::type, field) == offsetof(::type, field) && sizeof(doubles::type::field) == sizeof(::type::field) && \
                    sizeof(doubles::type) == sizeof(::type) && alignof(doubles::type) == alignof(::type),                             \
                #type "." #field);
LAYOUT(cublasLtMatmulAlgo_t, data)
LAYOUT(cublasLtMatmulHeuristicResult_t, algo)
LAYOUT(cublasLtMatmulHeuristicResult_t, workspaceSize)
LAYOUT(cublasLtMatmulHeuristicResult_t, state)
LAYOUT(cublasLtMatmulHeuristicResult_t, wavesCount)
LAYOUT(cublasLtMatmulHeuristicResult_t, reserved)
#endif

}  // namespace
