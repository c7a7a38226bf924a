/*
 * simt.h: CUDA's device language for a C++ compiler, so that a .cu file compiles as C++ and its kernels run on the CPU, for tests.
 *
 * A lane (CUDA thread) is a fiber. The lanes of a block run one after the other on one thread of the CPU; a lane runs until it waits for
 * others (a barrier, a shuffle, a matrix instruction) or ends. Blocks run side by side on the CPU's cores, in no order.
 *
 * What is wrong in a kernel is found as far as it can be, and fails the launch as a device would (sticky cudaErrorLaunchFailure):
 *   barriers and warp instructions   lanes that wait for lanes that ended, or that wait elsewhere; masks without the calling lane; shuffles
 *                                    from lanes outside the mask
 *   shared memory                    starts as NaN (0xFF); has its exact size, for AddressSanitizer
 *   races                            GATUN_SIMT_SCHEDULE=forward|reverse|shuffle changes the order of lanes and blocks: results must not
 *                                    change. Compiled with ThreadSanitizer, every lane is a thread to it, and barriers are what orders them
 *                                    (__syncthreads and __syncwarp; as on the device, a shuffle orders no memory)
 */
#ifndef GATUN_SIMT_H
#define GATUN_SIMT_H

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <vector>

#include "cuda_api.h"
#include "stream.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace gatun::simt {

constexpr unsigned kWarpSize = 32;

/** What a lane waits for. */
enum class Collective { kSyncWarp, kShuffle, kVote, kReduce, kMatrix };

struct Block;

/** A cp.async that is under way; from NULL: zeros. */
struct AsyncCopy {
  void *to;
  const void *from;
  unsigned bytes;
  unsigned group;
};

/** One CUDA thread. */
struct Lane {
  uint3 thread_index;
  unsigned rank; /* in the block */
  Block *block;
  std::vector<AsyncCopy> copies = {}; /* oldest first */
  unsigned copy_group = 0;            /* groups committed so far */
};

struct BlockView {
  uint3 index;
  dim3 block_dim;
  dim3 grid_dim;
};

extern constinit thread_local Lane *current_lane;
extern constinit thread_local BlockView *current_block;

/** Waits for all lanes of the block. */
void block_barrier(std::source_location where);

/**
 * Waits until all lanes of `mask` in this warp are here with the same kind and place; the last one calls combine(slots): slots[lane] is what
 * that lane passed, NULL for lanes outside the mask. Then all go on.
 */
void warp_collective(unsigned mask, Collective kind, void *slot, void (*combine)(void *const *slots, unsigned mask), std::source_location where);

/** Shared memory of the block that belongs to `site`, the same for all its lanes. */
void *shared_memory(const void *site, size_t bytes, size_t alignment);
void *dynamic_shared_memory();

/** Ends the lane's block: the launch fails with this text. */
[[noreturn]] void misuse(const char *what, std::source_location where);

/** Runs all blocks; `name` is for messages. */
void run_grid(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &lane);

inline unsigned lane_of_warp() {
  return current_lane->rank % kWarpSize;
}

struct ShuffleSlot {
  uint64_t value;
  unsigned source; /* lane of the warp */
};

void combine_shuffle(void *const *slots, unsigned mask);

template <class T>
T shuffle(unsigned mask, T value, unsigned source, std::source_location where) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  ShuffleSlot slot{0, source};
  std::memcpy(&slot.value, &value, sizeof value);
  if ((mask >> source & 1) == 0) misuse("shuffle from a lane outside the mask", where);
  warp_collective(mask, Collective::kShuffle, &slot, combine_shuffle, where);
  std::memcpy(&value, &slot.value, sizeof value);
  return value;
}

}  // namespace gatun::simt

#define threadIdx (::gatun::simt::current_lane->thread_index)
#define blockIdx (::gatun::simt::current_block->index)
#define blockDim (::gatun::simt::current_block->block_dim)
#define gridDim (::gatun::simt::current_block->grid_dim)

/** Declares shared memory of the block: GATUN_SHARED(sums, float[32]). */
#define GATUN_SHARED(name, ...)                                   \
  static const char name##_site = 0;                              \
  auto &name = *static_cast<std::type_identity_t<__VA_ARGS__> *>( \
      ::gatun::simt::shared_memory(&name##_site, sizeof(std::type_identity_t<__VA_ARGS__>), alignof(std::type_identity_t<__VA_ARGS__>)))

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  gatun::simt::block_barrier(where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, std::source_location where = std::source_location::current()) {
  gatun::simt::warp_collective(mask, gatun::simt::Collective::kSyncWarp, nullptr, nullptr, where);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, std::source_location where = std::source_location::current()) {
  const unsigned lane = gatun::simt::lane_of_warp(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  return gatun::simt::shuffle(mask, value, segment + (static_cast<unsigned>(source) & (static_cast<unsigned>(width) - 1)), where);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, std::source_location where = std::source_location::current()) {
  const unsigned lane = gatun::simt::lane_of_warp(), source = lane ^ static_cast<unsigned>(lane_mask);
  return gatun::simt::shuffle(mask, value, source < (lane & ~(static_cast<unsigned>(width) - 1)) + static_cast<unsigned>(width) ? source : lane,
                              where);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, std::source_location where = std::source_location::current()) {
  const unsigned lane = gatun::simt::lane_of_warp(), in_segment = lane & (static_cast<unsigned>(width) - 1);
  return gatun::simt::shuffle(mask, value, delta <= in_segment ? lane - delta : lane, where);
}

namespace gatun::simt {
void combine_ballot(void *const *slots, unsigned mask);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  unsigned slot = predicate != 0;
  gatun::simt::warp_collective(mask, gatun::simt::Collective::kVote, &slot, gatun::simt::combine_ballot, where);
  return slot;
}

inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}

namespace gatun::simt {
struct MatchSlot {
  uint64_t value;
  unsigned peers;
};
void combine_match(void *const *slots, unsigned mask);
}  // namespace gatun::simt

/** The lanes of mask that hold the same value. */
template <class T>
unsigned __match_any_sync(unsigned mask, T value, std::source_location where = std::source_location::current()) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  gatun::simt::MatchSlot slot{0, 0};
  std::memcpy(&slot.value, &value, sizeof value);
  gatun::simt::warp_collective(mask, gatun::simt::Collective::kVote, &slot, gatun::simt::combine_match, where);
  return slot.peers;
}

template <class T>
T __ldcs(const T *p) {
  return *p;
}
template <class T>
void __stcs(T *p, T value) {
  *p = value;
}

inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}

constexpr float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
constexpr uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}

namespace gatun {

/** kernel<<<grid, block, shared_bytes, stream>>>(arguments...) */
template <class... P, class... A>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A &&...arguments) {
  std::tuple<std::remove_const_t<P>...> parameters(static_cast<P>(arguments)...);
  simt::submit(stream, [=] { simt::run_grid(name, grid, block, shared_bytes, [&] { std::apply(kernel, parameters); }); });
}

template <class T>
T *dynamic_shared() {
  return static_cast<T *>(simt::dynamic_shared_memory());
}

}  // namespace gatun

#endif
