/*
 * ptx.h: instructions that CUDA C++ has no words for: matrix products of a warp, their operands' way out of shared memory, copies from
 * global to shared memory that run beside the computation, and the fast power of two. All are there from sm_80 on.
 *
 * Each has a twin for the emulation with the same meaning, lane by lane: "PTX ISA", sections "Matrix Fragments for mma.m16n8k16 with floating
 * point type", "ldmatrix" and "cp.async". There a copy is done only when its lane waits for its group, and what lay at its destination is lost
 * when it is issued, so that a wait too few and a buffer overwritten too early both show.
 */
#ifndef GATUN_PTX_H
#define GATUN_PTX_H

#include "device.h"

#if !defined(__CUDACC__)
#include <vector>
#endif

namespace gatun::GATUN_ISA {

/** An address in shared memory, to which bytes may be added. */
#if defined(__CUDACC__)
using SharedAddress = uint32_t;
#else
using SharedAddress = unsigned char *;
#endif

__device__ __forceinline__ SharedAddress shared_address(void *p) {
#if defined(__CUDACC__)
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
#else
  return static_cast<unsigned char *>(p);
#endif
}

/** 2^x within 2^-22 of it; 2^-inf = 0. Denormal results are 0. */
__device__ __forceinline__ float ex2_approx(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
#endif
}

#if !defined(__CUDACC__)
namespace twin {

/*
 * What combines the lanes' operands reads and writes registers, which are no memory that barriers order. ThreadSanitizer sees only the lanes' own
 * accesses to shared memory.
 */
#define GATUN_REGISTERS_ONLY __attribute__((no_sanitize_thread))

struct MmaSlot {
  float *d;
  const uint32_t *a;
  const uint32_t *b;
};

inline float low_half(uint32_t pair) {
  return __uint_as_float(pair << 16);
}
inline float high_half(uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

GATUN_REGISTERS_ONLY inline void combine_mma(void *const *slots, unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const MmaSlot &slot = *static_cast<const MmaSlot *>(slots[lane]);
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = group + (i % 2 == 0 ? 0 : 8), column = in_group * 2 + (i < 2 ? 0 : 8);
      a[row][column] = low_half(slot.a[i]);
      a[row][column + 1] = high_half(slot.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[in_group * 2 + 8 * i][group] = low_half(slot.b[i]);
      b[in_group * 2 + 8 * i + 1][group] = high_half(slot.b[i]);
    }
  }
  float d[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const MmaSlot &slot = *static_cast<const MmaSlot *>(slots[lane]);
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 4; ++i) slot.d[i] += d[group + (i < 2 ? 0 : 8)][in_group * 2 + i % 2];
  }
}

struct LdmatrixSlot {
  uint16_t row[8];
  uint32_t *registers;
};

template <bool kTransposed>
GATUN_REGISTERS_ONLY void combine_ldmatrix(void *const *slots, unsigned) {
  for (int lane = 0; lane < kWarp; ++lane) {
    const int major = lane / 4, minor = lane % 4 * 2;
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t pair = 0;
      for (int i = 0; i < 2; ++i) {
        const int row = kTransposed ? minor + i : major, column = kTransposed ? major : minor + i;
        pair |= static_cast<uint32_t>(static_cast<const LdmatrixSlot *>(slots[8 * matrix + row])->row[column]) << 16 * i;
      }
      static_cast<const LdmatrixSlot *>(slots[lane])->registers[matrix] = pair;
    }
  }
}
#undef GATUN_REGISTERS_ONLY

template <bool kTransposed>
void ldmatrix(uint32_t (&registers)[4], SharedAddress row, std::source_location where) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) simt::misuse("ldmatrix of a row that does not begin on 16 bytes", where);
  LdmatrixSlot slot{{}, registers};
  std::memcpy(slot.row, row, sizeof slot.row);
  simt::warp_collective(kAllLanes, simt::Collective::kMatrix, &slot, combine_ldmatrix<kTransposed>, where);
}

inline void cp_async(SharedAddress to, const void *from, unsigned bytes, bool valid, std::source_location where) {
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || (valid && reinterpret_cast<uintptr_t>(from) % bytes != 0)) {
    simt::misuse("cp.async from or to an address that is no multiple of its size", where);
  }
  std::memset(to, 0xff, bytes);
  simt::current_lane->copies.push_back({to, valid ? from : nullptr, bytes, simt::current_lane->copy_group});
}

}  // namespace twin
#endif

/**
 * d += a b, a [16, 16] and b [16, 8] bf16, d [16, 8] f32. With group = lane / 4 and pair = 2 (lane % 4), a lane holds
 *   a[0..3]   rows group, group + 8, group, group + 8; columns pair, pair + 1 (the first two) and pair + 8, pair + 9 (the last two)
 *   b[0..1]   rows pair, pair + 1 and pair + 8, pair + 9; column group
 *   d[0..3]   row group, columns pair, pair + 1; row group + 8, the same columns
 */
#if defined(__CUDACC__)
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#else
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                         std::source_location where = std::source_location::current()) {
  const uint32_t b[2] = {b0, b1};
  twin::MmaSlot slot{d, a, b};
  simt::warp_collective(kAllLanes, simt::Collective::kMatrix, &slot, twin::combine_mma, where);
}
#endif

/**
 * Four matrices of 8 x 8 16-bit elements from shared memory. Lane 8 i + r names row r of matrix i: 16 bytes, aligned to 16. registers[i] of a lane
 * is row lane / 4, columns 2 (lane % 4) and the next of matrix i.
 */
#if defined(__CUDACC__)
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&registers)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}
#else
inline void ldmatrix_x4(uint32_t (&registers)[4], SharedAddress row, std::source_location where = std::source_location::current()) {
  twin::ldmatrix<false>(registers, row, where);
}
#endif

/** As ldmatrix_x4 of the transposed matrices: registers[i] is rows 2 (lane % 4) and the next, column lane / 4 of matrix i. */
#if defined(__CUDACC__)
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&registers)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}
#else
inline void ldmatrix_x4_trans(uint32_t (&registers)[4], SharedAddress row, std::source_location where = std::source_location::current()) {
  twin::ldmatrix<true>(registers, row, where);
}
#endif

/** Begins to copy 16 bytes to shared memory, or to write 16 zero bytes there if not `valid` (then `from` is not read). Both on 16 bytes. */
#if defined(__CUDACC__)
__device__ __forceinline__ void cp_async_16(SharedAddress to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
#else
inline void cp_async_16(SharedAddress to, const void *from, bool valid, std::source_location where = std::source_location::current()) {
  twin::cp_async(to, from, 16, valid, where);
}
#endif

/** The same with 4 bytes. */
#if defined(__CUDACC__)
__device__ __forceinline__ void cp_async_4(SharedAddress to, const void *from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(valid ? 4 : 0) : "memory");
}
#else
inline void cp_async_4(SharedAddress to, const void *from, bool valid, std::source_location where = std::source_location::current()) {
  twin::cp_async(to, from, 4, valid, where);
}
#endif

/** What this thread began to copy since the last commit becomes one group. */
__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  ++simt::current_lane->copy_group;
#endif
}

/** Waits until all but the newest `kNewest` groups of this thread have arrived. Other threads see them after a barrier. */
template <int kNewest>
__device__ __forceinline__ void cp_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
#else
  simt::Lane &lane = *simt::current_lane;
  size_t done = 0;
  for (const simt::AsyncCopy &copy : lane.copies) {
    if (copy.group + kNewest >= lane.copy_group) break;
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
    ++done;
  }
  lane.copies.erase(lane.copies.begin(), lane.copies.begin() + static_cast<std::ptrdiff_t>(done));
#endif
}

}  // namespace gatun::GATUN_ISA

#endif
