/*
 * device.h: what every kernel is written with. The same .cu files are compiled twice: by nvcc for GPUs, and as C++ over kernels/simt, where
 * blocks, warps and lanes run on the CPU. So a kernel is launched by launch(), declares shared memory by GATUN_SHARED or takes it from
 * dynamic_shared<T>(), and uses of the device language what simt.h knows.
 */
#ifndef GATUN_DEVICE_CODE_H
#define GATUN_DEVICE_CODE_H

#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

/** Declares shared memory of the block: GATUN_SHARED(sums, float[32]). */
#define GATUN_SHARED(name, ...) __shared__ std::type_identity_t<__VA_ARGS__> name

namespace gatun {

/** kernel<<<grid, block, shared_bytes, stream>>>(arguments...); whether it was accepted, `guarded` asks. */
template <class... P, class... A>
void launch(const char * /* for messages of the emulation */, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            A &&...arguments) {
  // What a kernel gets without asking.
  if (shared_bytes > 48 * 1024) cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(arguments)...);
}

/** The block's dynamic shared memory, aligned to 128 bytes. */
template <class T>
__device__ T *dynamic_shared() {
  extern __shared__ __align__(128) unsigned char gatun_dynamic_shared[];
  return reinterpret_cast<T *>(gatun_dynamic_shared);
}

}  // namespace gatun
#else
#include "simt.h"
#endif

namespace gatun::GATUN_ISA {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarp = 32;

/** A bfloat16 as it is stored. */
struct bf16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(float value) {
  return value;
}

__device__ __forceinline__ float to_float(bf16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

/** Two bf16 in one register, the first in its low half; rounded to nearest even. */
__device__ __forceinline__ uint32_t to_bf16x2(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  const auto round = [](float value) {
    const uint32_t bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // as the instruction: one NaN
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#endif
}

template <class T>
__device__ __forceinline__ T from_float(float value);

template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
  return {static_cast<uint16_t>(to_bf16x2(value, value))};
}

/** Elements of one 16-byte access. */
template <class T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));

/** How a value is cached. kStreaming: it is not read again soon. */
enum class Cache { kDefault, kStreaming };

/** 16 bytes from a 16-byte aligned address, as floats. */
template <Cache C = Cache::kDefault>
__device__ __forceinline__ void load_pack(float (&v)[4], const float *p) {
  const float4 *source = reinterpret_cast<const float4 *>(p);
  const float4 pack = C == Cache::kStreaming ? __ldcs(source) : *source;
  v[0] = pack.x;
  v[1] = pack.y;
  v[2] = pack.z;
  v[3] = pack.w;
}

template <Cache C = Cache::kDefault>
__device__ __forceinline__ void load_pack(float (&v)[8], const bf16 *p) {
  const uint4 *source = reinterpret_cast<const uint4 *>(p);
  const uint4 pack = C == Cache::kStreaming ? __ldcs(source) : *source;
  const uint32_t words[4] = {pack.x, pack.y, pack.z, pack.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

template <Cache C = Cache::kDefault>
__device__ __forceinline__ void store_pack(float *p, const float (&v)[4]) {
  const float4 pack = make_float4(v[0], v[1], v[2], v[3]);
  float4 *target = reinterpret_cast<float4 *>(p);
  if constexpr (C == Cache::kStreaming) {
    __stcs(target, pack);
  } else {
    *target = pack;
  }
}

/** Whether 16-byte accesses may begin here. Of a NULL pointer nothing is accessed. */
inline bool aligned16(const void *p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/** Whether rows of `elements` T that lie `stride` apart all begin on 16 bytes and are whole packs. */
template <class T>
bool packs(const void *p, int64_t elements, int64_t stride) {
  return aligned16(p) && elements % kPack<T> == 0 && stride % kPack<T> == 0;
}

/** Sum over the lanes of a warp, the same in each. */
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

/**
 * Sum over the threads of a one-dimensional block of whole warps, the same in each thread, added in an order that depends on the block's size
 * alone. All threads call it; calls may follow each other directly.
 */
__device__ __forceinline__ float block_sum(float value) {
  GATUN_SHARED(partial_sums, float[32]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_sum(value);
  __syncthreads();  // the former call's sums have been read
  if (lane == 0) partial_sums[warp] = value;
  __syncthreads();
  value = lane < static_cast<int>(blockDim.x) / kWarp ? partial_sums[lane] : 0.0f;
  return warp_sum(value);
}

/** ceil(a / b) */
constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace gatun::GATUN_ISA

#endif
