/*
 * attention.h: what the forward and the backward pass of attention share: the problem, tiles in shared memory, products of tiles.
 *
 * A tile is some rows of one head in shared memory, each row D elements and 16 bytes more: so the number of 16-byte chunks from row to row is odd,
 * and eight rows' chunks of one column lie in different banks. D is the head size rounded up to a size that kernels exist for; what is beyond the
 * head size, and rows beyond the segment, are zeros, whatever memory holds there.
 */
#ifndef GATUN_ATTENTION_H
#define GATUN_ATTENTION_H

#include "guard.h"
#include "ptx.h"

namespace gatun::GATUN_ISA {

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

/** A window that hides nothing; twice it is still an int. */
constexpr int kNoWindow = 1 << 30;

/*
 * Softmax is computed with powers of two of scores times log2(e). Without soft-cap that factor goes into one multiply-add with the subtraction
 * of the maximum: a `raw` score is q . k, and score = factor * raw. Else bend() makes of q . k the score itself, and factor is 1.
 */
struct ScoreRule {
  float factor, inner, outer; /* score = outer * tanh(inner * raw), or inner * raw if outer is 0 */
  bool bent;

  ScoreRule(float scale, float softcap)
      // The largest raw score is the largest score only where the factor is positive.
      : factor(softcap > 0 || !(scale > 0) ? 1.0f : scale * kLog2E),
        inner(softcap > 0 ? scale / softcap : scale * kLog2E),
        outer(softcap > 0 ? softcap * kLog2E : 0.0f),
        bent(softcap > 0 || !(scale > 0)) {}
};

/** The attention that a row of the table is asked for. A key j is seen by query i if i + shift - window < j <= i + shift. */
struct AttentionShape {
  const gatun_segment *segments;
  int heads, group, head_dim, window; /* group: query heads per key head */
  int64_t q_stride, out_stride, kv_stride;
  float scale;
  ScoreRule rule;
  bool aligned; /* every row of every matrix begins on 16 bytes */
};

__host__ __device__ constexpr int smaller(int a, int b) {
  return a < b ? a : b;
}
__host__ __device__ constexpr int larger(int a, int b) {
  return a < b ? b : a;
}
__host__ __device__ constexpr int tiles_of(int rows, int rows_per_tile) {
  return (rows + rows_per_tile - 1) / rows_per_tile;
}

// ---- scores ----

/** tanh x within 2^-22: what bf16 needs. */
__device__ __forceinline__ float fast_tanh(float x) {
  return 1.0f - __fdividef(2.0f, 1.0f + ex2_approx(2.0f * kLog2E * x));
}

/** The score of a raw one; slope = d score / d (inner * raw) / outer, as the soft-cap has it. */
template <class T>
__device__ __forceinline__ float bend(const ScoreRule &rule, float raw, float &slope) {
  const float x = rule.inner * raw;
  slope = 1.0f;
  if (rule.outer == 0.0f) return x;
  const float t = std::is_same_v<T, float> ? tanhf(x) : fast_tanh(x);
  slope = 1.0f - t * t;
  return rule.outer * t;
}

/** 2^x, to f32's precision for f32. */
template <class T>
__device__ __forceinline__ float power_of_two(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return exp2f(x);
  } else {
    return ex2_approx(x);
  }
}

// ---- tiles ----

template <class T, int D>
constexpr int kRowBytes = D *static_cast<int>(sizeof(T)) + 16;

/**
 * Begins to copy rows [0, rows) of a head into a tile of kRows; the rest becomes zeros. Aligned rows are copied beside the computation until
 * cp_async_wait, others at once; both are there for all after a barrier.
 */
template <class T, int D, int kRows, int kThreads>
__device__ __forceinline__ void load_tile(unsigned char *tile, const T *source, int64_t stride, int rows, const AttentionShape &shape) {
  constexpr int kChunks = D / kPack<T>, kRowsPerTurn = kThreads / kChunks;
  const int thread = static_cast<int>(threadIdx.x);
  const int first_row = thread / kChunks, chunk = thread % kChunks;
  if (first_row >= kRowsPerTurn) return;  // threads left over where kChunks does not divide their number
  const bool inside = chunk * kPack<T> < shape.head_dim;
  unsigned char *target = tile + first_row * kRowBytes<T, D> + chunk * 16;
  const T *from = source + first_row * stride + chunk * kPack<T>;
  if (shape.aligned) {
    const SharedAddress to = shared_address(target);
#pragma unroll 1
    for (int turn = 0; turn < tiles_of(kRows, kRowsPerTurn); ++turn) {
      const int row = first_row + turn * kRowsPerTurn;
      if (kRows % kRowsPerTurn != 0 && row >= kRows) break;
      const bool valid = inside && row < rows;
      cp_async_16(to + turn * kRowsPerTurn * kRowBytes<T, D>, valid ? from + turn * kRowsPerTurn * stride : source, valid);
    }
  } else {
#pragma unroll 1
    for (int row = first_row; row < kRows; row += kRowsPerTurn) {
      T *elements = reinterpret_cast<T *>(target);
#pragma unroll 1
      for (int i = 0; i < kPack<T>; ++i) elements[i] = inside && row < rows ? from[i] : T{};
      target += kRowsPerTurn * kRowBytes<T, D>;
      from += kRowsPerTurn * stride;
    }
  }
}

/** The 16 rows of a tile that begin at `tile` and columns from `column` on, as operand a of mma or as b of two (n and n + 8, transposed). */
template <int D>
__device__ __forceinline__ unsigned char *fragment_rows(unsigned char *tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  return tile + lane % 16 * kRowBytes<bf16, D> + lane / 16 * 16;
}

/** The 16 rows of a tile that are operand b of two products (columns 0 to 7 and 8 to 15 of the result). */
template <int D>
__device__ __forceinline__ unsigned char *fragment_columns(unsigned char *tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  return tile + (lane % 8 + lane / 16 * 8) * kRowBytes<bf16, D> + lane / 8 % 2 * 16;
}

/** c[m] += x y^T over the columns of two tiles: 16 kM rows of x from `rows` on (fragment_rows), 8 kN rows of y (fragment_columns). */
template <int D, int kM, int kN>
__device__ __forceinline__ void multiply_transposed(float (&c)[kM][kN][4], SharedAddress rows, SharedAddress columns) {
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) ldmatrix_x4(a[m], rows + m * 16 * kRowBytes<bf16, D> + k * 32);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t b[4];
      ldmatrix_x4(b, columns + n * 8 * kRowBytes<bf16, D> + k * 32);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16(c[m][n], a[m], b[0], b[1]);
        mma_m16n8k16(c[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/** c[m] += a y: a [16 kM, 8 kN] as products leave it in registers, y 8 kN rows of a tile (fragment_rows), c [16 kM, D]. */
template <int D, int kM, int kN>
__device__ __forceinline__ void multiply(float (&c)[kM][D / 8][4], const float (&a)[kM][kN][4], SharedAddress rows) {
#pragma unroll
  for (int k = 0; k < kN / 2; ++k) {
    uint32_t left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      left[m][0] = to_bf16x2(a[m][2 * k][0], a[m][2 * k][1]);
      left[m][1] = to_bf16x2(a[m][2 * k][2], a[m][2 * k][3]);
      left[m][2] = to_bf16x2(a[m][2 * k + 1][0], a[m][2 * k + 1][1]);
      left[m][3] = to_bf16x2(a[m][2 * k + 1][2], a[m][2 * k + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, rows + k * 16 * kRowBytes<bf16, D> + n * 32);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16(c[m][2 * n], left[m], b[0], b[1]);
        mma_m16n8k16(c[m][2 * n + 1], left[m], b[2], b[3]);
      }
    }
  }
}

/**
 * Writes a warp's results, 16 kM rows of c each times its factor[m][half], to the first `rows` rows of target. On the way they lie in the 16 kM rows
 * of a tile from `tile` on, which no other warp uses.
 */
template <int D, int kM>
__device__ __forceinline__ void store_rows(bf16 *target, int64_t stride, int rows, unsigned char *tile, const float (&c)[kM][D / 8][4],
                                           const float (&factor)[kM][2], const AttentionShape &shape) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncwarp();
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unsigned char *row = tile + (16 * m + 8 * half + lane / 4) * kRowBytes<bf16, D> + lane % 4 * 4;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        *reinterpret_cast<uint32_t *>(row + n * 16) = to_bf16x2(c[m][n][2 * half] * factor[m][half], c[m][n][2 * half + 1] * factor[m][half]);
      }
    }
  }
  __syncwarp();
  constexpr int kChunks = D / kPack<bf16>;
  const int count = smaller(rows, 16 * kM) * kChunks;
#pragma unroll 1
  for (int i = lane; i < count; i += kWarp) {
    const int row = i / kChunks, chunk = i % kChunks;
    if (chunk * kPack<bf16> >= shape.head_dim) continue;
    const unsigned char *from = tile + row * kRowBytes<bf16, D> + chunk * 16;
    bf16 *to = target + row * stride + chunk * kPack<bf16>;
    if (shape.aligned) {
      *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(from);
    } else {
#pragma unroll 1
      for (int e = 0; e < kPack<bf16>; ++e) to[e] = reinterpret_cast<const bf16 *>(from)[e];
    }
  }
}

// ---- products of f32 tiles by 16 x 16 threads: thread (ty, tx) has rows ty + 16 r and columns of its own ----

constexpr int kF32Threads = 256;

/** c = x y^T: rows ty + 16 r of x and rows tx + 16 j of y. */
template <int D, int kR, int kC>
__device__ __forceinline__ void f32_multiply_transposed(float (&c)[kR][kC], const unsigned char *x, const unsigned char *y) {
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int r = 0; r < kR; ++r) {
#pragma unroll
    for (int j = 0; j < kC; ++j) c[r][j] = 0;
  }
#pragma unroll 2
  for (int d = 0; d < D / 4; ++d) {
    float4 a[kR], b[kC];
#pragma unroll
    for (int r = 0; r < kR; ++r) a[r] = *reinterpret_cast<const float4 *>(x + (ty + 16 * r) * kRowBytes<float, D> + d * 16);
#pragma unroll
    for (int j = 0; j < kC; ++j) b[j] = *reinterpret_cast<const float4 *>(y + (tx + 16 * j) * kRowBytes<float, D> + d * 16);
#pragma unroll
    for (int r = 0; r < kR; ++r) {
#pragma unroll
      for (int j = 0; j < kC; ++j) {
        c[r][j] = fmaf(a[r].x, b[j].x, c[r][j]);
        c[r][j] = fmaf(a[r].y, b[j].y, c[r][j]);
        c[r][j] = fmaf(a[r].z, b[j].z, c[r][j]);
        c[r][j] = fmaf(a[r].w, b[j].w, c[r][j]);
      }
    }
  }
}

/** Floats from row to row of what a block keeps of scores: kColumns and, against bank conflicts, four more. */
template <int kColumns>
constexpr int kScoreStride = kColumns + 4;

/** c[r] += p y: row ty + 16 r of p [, kY] with each row of y; columns f32_column(i). */
template <int D, int kY, int kR>
__device__ __forceinline__ void f32_multiply(float (&c)[kR][D / 16], const float *p, const unsigned char *y) {
  constexpr int kWide = D / 16 < 4 ? D / 16 : 4;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll 2
  for (int j = 0; j < kY; ++j) {
    float a[kR];
#pragma unroll
    for (int r = 0; r < kR; ++r) a[r] = p[(ty + 16 * r) * kScoreStride<kY> + j];
#pragma unroll
    for (int part = 0; part < D / 16 / kWide; ++part) {
      struct alignas(4 * kWide) Wide {
        float value[kWide];
      };
      const Wide b = *reinterpret_cast<const Wide *>(y + j * kRowBytes<float, D> + (part * 16 + tx) * 4 * kWide);
#pragma unroll
      for (int r = 0; r < kR; ++r) {
#pragma unroll
        for (int i = 0; i < kWide; ++i) c[r][part * kWide + i] = fmaf(a[r], b.value[i], c[r][part * kWide + i]);
      }
    }
  }
}

/** The column of a thread's i-th sum in f32_multiply. */
template <int D>
__device__ __forceinline__ int f32_column(int i) {
  constexpr int kWide = D / 16 < 4 ? D / 16 : 4;
  return (i / kWide * 16 + static_cast<int>(threadIdx.x) % 16) * kWide + i % kWide;
}

// ---- the host's part ----

/** Refuses what no kernel exists for. */
inline void check_attention(const gatun_segment *segments, const gatun_segment *host_segments, int64_t num_segments, int64_t heads, int64_t kv_heads,
                            int64_t head_dim, int64_t q_stride, float softcap, int64_t window) {
  check_extent("num_segments", num_segments);
  check_positive("heads", heads);
  check_positive("kv_heads", kv_heads);
  if (heads % kv_heads != 0) {
    invalid("heads is %lld, expected a multiple of kv_heads = %lld", static_cast<long long>(heads), static_cast<long long>(kv_heads));
  }
  if (head_dim < 8 || head_dim > 256 || head_dim % 8 != 0) {
    unsupported("head_dim is %lld, expected a multiple of 8 from 8 to 256", static_cast<long long>(head_dim));
  }
  check_stride("q_stride", q_stride, heads * head_dim);
  check_extent("window", window);
  if (!(softcap >= 0)) invalid("softcap is %g, expected 0 (none) or more", static_cast<double>(softcap));
  if (num_segments == 0) return;
  check_pointer("segments", segments);
  check_pointer("host_segments", host_segments);
  for (int64_t i = 0; i < num_segments; ++i) {
    const gatun_segment &s = host_segments[i];
    if (s.query_begin < 0 || s.key_begin < 0 || s.query_length < 1 || s.key_length < s.query_length) {
      invalid(
          "host_segments[%lld] is (query_begin %d, query_length %d, key_begin %d, key_length %d), expected begins of 0 or "
          "more and 1 <= query_length <= key_length",
          static_cast<long long>(i), s.query_begin, s.query_length, s.key_begin, s.key_length);
    }
  }
}

inline AttentionShape attention_shape(const gatun_segment *segments, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, float scale,
                                      float softcap, int64_t window, bool aligned) {
  return {segments,
          static_cast<int>(heads),
          static_cast<int>(heads / kv_heads),
          static_cast<int>(head_dim),
          window == 0 || window > kNoWindow ? kNoWindow : static_cast<int>(window),
          q_stride,
          heads * head_dim,
          kv_heads * head_dim,
          scale,
          ScoreRule(scale, softcap),
          aligned};
}

/** The longest queries and keys of the segments: what a grid is made for. */
struct Longest {
  int query = 0, key = 0;
  Longest(const gatun_segment *host_segments, int64_t num_segments) {
    for (int64_t i = 0; i < num_segments; ++i) {
      query = larger(query, host_segments[i].query_length);
      key = larger(key, host_segments[i].key_length);
    }
  }
};

/** Calls body(std::integral_constant<int, D>) with the smallest D of kSizes that holds head_dim. */
template <int... kSizes, class Body>
void with_head_size(int64_t head_dim, Body &&body) {
  bool done = false;
  const auto take = [&](auto size) {
    if (done || head_dim > decltype(size)::value) return;
    body(size);
    done = true;
  };
  (take(std::integral_constant<int, kSizes>{}), ...);
}

}  // namespace gatun::GATUN_ISA

#endif
