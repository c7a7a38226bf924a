/*
 * cuda_api.h: the part of the CUDA 13 runtime API that the emulated GPU has, under its real names and with its real C signatures.
 *
 * It stands in for NVIDIA's cuda_runtime_api.h, which is not needed and not read. Values and layouts are those of CUDA 13.0; where
 * NVIDIA's headers are at hand, tests/headers_test.cpp holds every one of them, and every signature, to those headers. A file that
 * includes this header cannot include NVIDIA's.
 */
#ifndef GATUN_SIMT_CUDA_API_H
#define GATUN_SIMT_CUDA_API_H

#include <cstddef>

#ifndef GATUN_SIMT_EXPORT
#define GATUN_SIMT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

/* NVIDIA's header leaves the underlying type to the compiler, which takes unsigned int. Written down, so that a caller's unknown value is
 * no undefined behaviour. */
enum cudaError_t : unsigned int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInitializationError = 3,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidMemcpyDirection = 21,
  cudaErrorInsufficientDriver = 35,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalState = 401,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotPermitted = 800,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureUnjoined = 904,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorCapturedEvent = 907,
  cudaErrorStreamCaptureWrongThread = 908,
  cudaErrorUnknown = 999,
};

enum cudaMemcpyKind : unsigned int {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4,
};

enum cudaStreamCaptureMode : unsigned int {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};

enum cudaDeviceAttr : unsigned int {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxBlockDimX = 2,
  cudaDevAttrMaxBlockDimY = 3,
  cudaDevAttrMaxBlockDimZ = 4,
  cudaDevAttrMaxGridDimX = 5,
  cudaDevAttrMaxGridDimY = 6,
  cudaDevAttrMaxGridDimZ = 7,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMaxRegistersPerBlock = 12,
  cudaDevAttrClockRate = 13,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrIntegrated = 18,
  cudaDevAttrComputeMode = 20,
  cudaDevAttrConcurrentKernels = 31,
  cudaDevAttrEccEnabled = 32,
  cudaDevAttrMemoryClockRate = 36,
  cudaDevAttrGlobalMemoryBusWidth = 37,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrAsyncEngineCount = 40,
  cudaDevAttrUnifiedAddressing = 41,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxRegistersPerMultiprocessor = 82,
  cudaDevAttrCooperativeLaunch = 95,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMaxBlocksPerMultiprocessor = 106,
};

/* Macros in NVIDIA's header. */
constexpr unsigned int cudaHostAllocDefault = 0;
constexpr unsigned int cudaHostAllocPortable = 1;
constexpr unsigned int cudaHostAllocMapped = 2;
constexpr unsigned int cudaHostAllocWriteCombined = 4;
constexpr unsigned int cudaStreamDefault = 0;
constexpr unsigned int cudaStreamNonBlocking = 1;
constexpr unsigned int cudaEventDefault = 0;
constexpr unsigned int cudaEventBlockingSync = 1;
constexpr unsigned int cudaEventDisableTiming = 2;

/** cudaDeviceProp of CUDA 13: its size, and the places of the fields that the emulated device fills in. The others are 0. */
struct cudaDeviceProp {
  alignas(8) char bytes[1008];
};
#define GATUN_SIMT_PROPERTIES(FIELD)             \
  FIELD(name, 0, char[256])                      \
  FIELD(uuid, 256, char[16])                     \
  FIELD(totalGlobalMem, 288, size_t)             \
  FIELD(sharedMemPerBlock, 296, size_t)          \
  FIELD(regsPerBlock, 304, int)                  \
  FIELD(warpSize, 308, int)                      \
  FIELD(memPitch, 312, size_t)                   \
  FIELD(maxThreadsPerBlock, 320, int)            \
  FIELD(maxThreadsDim, 324, int[3])              \
  FIELD(maxGridSize, 336, int[3])                \
  FIELD(totalConstMem, 352, size_t)              \
  FIELD(major, 360, int)                         \
  FIELD(minor, 364, int)                         \
  FIELD(multiProcessorCount, 384, int)           \
  FIELD(concurrentKernels, 560, int)             \
  FIELD(ECCEnabled, 564, int)                    \
  FIELD(asyncEngineCount, 584, int)              \
  FIELD(unifiedAddressing, 588, int)             \
  FIELD(memoryBusWidth, 592, int)                \
  FIELD(l2CacheSize, 596, int)                   \
  FIELD(maxThreadsPerMultiProcessor, 604, int)   \
  FIELD(sharedMemPerMultiprocessor, 624, size_t) \
  FIELD(regsPerMultiprocessor, 632, int)         \
  FIELD(cooperativeLaunch, 668, int)             \
  FIELD(sharedMemPerBlockOptin, 672, size_t)     \
  FIELD(maxBlocksPerMultiProcessor, 688, int)    \
  FIELD(reservedSharedMemPerBlock, 696, size_t)
#define GATUN_SIMT_OFFSET(field, offset, type) constexpr size_t offset_of_##field = offset;
GATUN_SIMT_PROPERTIES(GATUN_SIMT_OFFSET)
#undef GATUN_SIMT_OFFSET

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
typedef CUstream_st *cudaStream_t;
typedef CUevent_st *cudaEvent_t;
typedef CUgraph_st *cudaGraph_t;
typedef CUgraphExec_st *cudaGraphExec_t;

GATUN_SIMT_EXPORT cudaError_t cudaGetDeviceCount(int *count);
GATUN_SIMT_EXPORT cudaError_t cudaSetDevice(int device);
GATUN_SIMT_EXPORT cudaError_t cudaGetDevice(int *device);
GATUN_SIMT_EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device);
GATUN_SIMT_EXPORT cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int device);
GATUN_SIMT_EXPORT cudaError_t cudaDeviceGetPCIBusId(char *pciBusId, int len, int device);
GATUN_SIMT_EXPORT cudaError_t cudaDeviceSynchronize(void);
GATUN_SIMT_EXPORT cudaError_t cudaDeviceReset(void);
GATUN_SIMT_EXPORT cudaError_t cudaDriverGetVersion(int *driverVersion);
GATUN_SIMT_EXPORT cudaError_t cudaRuntimeGetVersion(int *runtimeVersion);

GATUN_SIMT_EXPORT cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
GATUN_SIMT_EXPORT cudaError_t cudaMalloc(void **devPtr, size_t size);
GATUN_SIMT_EXPORT cudaError_t cudaFree(void *devPtr);
GATUN_SIMT_EXPORT cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned int flags);
GATUN_SIMT_EXPORT cudaError_t cudaFreeHost(void *ptr);
GATUN_SIMT_EXPORT cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, cudaMemcpyKind kind, cudaStream_t stream);
GATUN_SIMT_EXPORT cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream);

GATUN_SIMT_EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *pStream, unsigned int flags);
GATUN_SIMT_EXPORT cudaError_t cudaStreamDestroy(cudaStream_t stream);
GATUN_SIMT_EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t stream);
GATUN_SIMT_EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags);

GATUN_SIMT_EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags);
GATUN_SIMT_EXPORT cudaError_t cudaEventDestroy(cudaEvent_t event);
GATUN_SIMT_EXPORT cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
GATUN_SIMT_EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t event);
GATUN_SIMT_EXPORT cudaError_t cudaEventQuery(cudaEvent_t event);
GATUN_SIMT_EXPORT cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end);

GATUN_SIMT_EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
GATUN_SIMT_EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *pGraph);
GATUN_SIMT_EXPORT cudaError_t cudaGraphInstantiate(cudaGraphExec_t *pGraphExec, cudaGraph_t graph, unsigned long long flags);
GATUN_SIMT_EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t stream);
GATUN_SIMT_EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t graph);
GATUN_SIMT_EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec);

GATUN_SIMT_EXPORT cudaError_t cudaGetLastError(void);
GATUN_SIMT_EXPORT const char *cudaGetErrorName(cudaError_t error);
GATUN_SIMT_EXPORT const char *cudaGetErrorString(cudaError_t error);
GATUN_SIMT_EXPORT cudaError_t cudaProfilerStart(void);
GATUN_SIMT_EXPORT cudaError_t cudaProfilerStop(void);

#endif
