/*
 * attention_forward: out = softmax(bend(scale q k^T)) v per segment and head, lse = log sum exp of the scores; bend is the soft-cap.
 *
 * The scores are never stored: a block goes through its keys tile by tile and keeps, per query, the largest score m, the sum l of 2^(score - m)
 * and the sum of 2^(score - m) v; when m grows, the sums shrink by 2^(m - m'). (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022.)
 * Grid: x = head and segment, y = tile of queries, those that see the most keys first. Tiles of keys that no query of the block sees are skipped;
 * only those at the diagonal, at the window's edge and at the end are masked.
 *
 * bf16   Tensor cores (mma.m16n8k16), f32 sums. Four warps with 16 kM queries each: S = q k^T leaves the probabilities in the registers from which
 *        they are operand a of P v. Head sizes 32, 64, 80, 96, 128, 256; others as the next of them.
 *        Shared memory: q, k, v tiles of 2 D + 16 bytes a row: (kQueries + 2 kKeys) (2 D + 16) bytes, 36 KiB at 64, 51 KiB at 128, 99 KiB at 256.
 *        The copies run beside the computation: v's while S is computed, the next k's during softmax and P v.
 * f32    FFMA, nothing rounded to less than f32. 16 x 16 threads; a thread has kRows / 16 queries by kKeys / 16 keys of S, and D / 16 columns of out.
 *        Head sizes 32, 64, 128, 256. Shared memory: q, k, v and probabilities, at most 76 KiB.
 *
 * FLOPs: 4 head_dim per pair of query head and key seen. Traffic: q and out once, k and v once per tile of queries (mostly from L2), lse.
 * Deterministic: every output is written by one thread, sums have one order.
 */
#include "attention.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct ForwardArguments {
  T *out;
  float *lse; /* or NULL */
  const T *q, *k, *v;
  AttentionShape shape;
};

/** The queries of one block and the keys they see, in rows of their segment. */
template <int kQueries, int kKeys>
struct QueryTile {
  gatun_segment segment;
  int head, first, count; /* queries */
  int shift;              /* query i sees keys up to i + shift */
  int first_block, last_block;

  /** False: the segment has no such tile. */
  __device__ bool find(const AttentionShape &shape) {
    head = static_cast<int>(blockIdx.x) % shape.heads;
    segment = shape.segments[blockIdx.x / static_cast<unsigned>(shape.heads)];
    const int tile = tiles_of(segment.query_length, kQueries) - 1 - static_cast<int>(blockIdx.y);
    if (tile < 0) return false;
    first = tile * kQueries;
    count = smaller(kQueries, segment.query_length - first);
    shift = segment.key_length - segment.query_length;
    first_block = larger(0, first + shift - shape.window + 1) / kKeys;
    last_block = (first + count - 1 + shift) / kKeys;
    return true;
  }

  /** Whether some query of the tile does not see some key of the block. */
  __device__ bool partly_hidden(int block, const AttentionShape &shape) const {
    return block * kKeys + kKeys - 1 > first + shift || block * kKeys <= first + kQueries - 1 + shift - shape.window;
  }
};

// ---- bf16 ----

template <int D>
struct ForwardTile {
  static constexpr int kWarps = 4;
  static constexpr int kM = D <= 128 ? 2 : 1;
  static constexpr int kQueries = 16 * kM * kWarps;
  static constexpr int kKeys = D == 128 ? 32 : 64; /* more do not fit the registers */
  static constexpr int kBytes = (kQueries + 2 * kKeys) * kRowBytes<bf16, D>;
};

template <int D>
__global__ void __launch_bounds__(ForwardTile<D>::kWarps *kWarp) attention_forward_bf16(const ForwardArguments<bf16> arguments) {
  using Tile = ForwardTile<D>;
  constexpr int kM = Tile::kM, kN = Tile::kKeys / 8, kThreads = Tile::kWarps * kWarp;
  const AttentionShape &shape = arguments.shape;
  QueryTile<Tile::kQueries, Tile::kKeys> queries;
  if (!queries.find(shape)) return;
  const gatun_segment &segment = queries.segment;

  unsigned char *q_tile = dynamic_shared<unsigned char>();
  unsigned char *k_tile = q_tile + Tile::kQueries * kRowBytes<bf16, D>;
  unsigned char *v_tile = k_tile + Tile::kKeys * kRowBytes<bf16, D>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, first_of_warp = static_cast<int>(threadIdx.x) / kWarp * 16 * kM;
  unsigned char *rows_of_warp = q_tile + first_of_warp * kRowBytes<bf16, D>;

  const int64_t kv_column = int64_t{queries.head / shape.group} * shape.head_dim;
  const int64_t first_key = segment.key_begin * shape.kv_stride + kv_column;
  const int64_t first_token = int64_t{segment.query_begin} + queries.first;
  const auto load_keys = [&](unsigned char *tile, const bf16 *from, int block) {
    load_tile<bf16, D, Tile::kKeys, kThreads>(tile, from + first_key + block * Tile::kKeys * shape.kv_stride, shape.kv_stride,
                                              segment.key_length - block * Tile::kKeys, shape);
    cp_async_commit();
  };
  load_tile<bf16, D, Tile::kQueries, kThreads>(q_tile, arguments.q + first_token * shape.q_stride + int64_t{queries.head} * shape.head_dim,
                                               shape.q_stride, queries.count, shape);
  int block = queries.last_block;
  load_keys(k_tile, arguments.k, block);

  const ScoreRule &rule = shape.rule;
  float sum[kM][D / 8][4] = {};
  float top[kM][2], total[kM][2];  // m, raw; and this lane's part of l
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    top[m][0] = top[m][1] = -INFINITY;
    total[m][0] = total[m][1] = 0;
  }
  const SharedAddress q_fragments = shared_address(fragment_rows<D>(rows_of_warp));
  const SharedAddress k_fragments = shared_address(fragment_columns<D>(k_tile));
  const SharedAddress v_fragments = shared_address(fragment_rows<D>(v_tile));

#pragma unroll 1
  for (; block >= queries.first_block; --block) {
    cp_async_wait<0>();
    __syncthreads();  // k has arrived, the former v has been read
    load_keys(v_tile, arguments.v, block);
    float s[kM][kN][4] = {};
    multiply_transposed<D>(s, q_fragments, k_fragments);
    cp_async_wait<0>();
    __syncthreads();  // v has arrived, k has been read
    if (block > queries.first_block) load_keys(k_tile, arguments.k, block - 1);

    if (rule.bent) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float slope;
            s[m][n][i] = bend<bf16>(rule, s[m][n][i], slope);
          }
        }
      }
    }
    if (queries.partly_hidden(block, shape)) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int last = queries.first + first_of_warp + 16 * m + 8 * half + lane / 4 + queries.shift;
          const int key = block * Tile::kKeys + lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
              const int j = key + n * 8 + i;
              if (j > last || j <= last - shape.window) s[m][n][2 * half + i] = -INFINITY;
            }
          }
        }
      }
    }
    float shrink[kM][2];  // of what was summed before
    bool grown = false;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float highest = top[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n) highest = fmaxf(highest, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 1));
        highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 2));
        const float base = highest == -INFINITY ? 0.0f : highest * rule.factor;  // no key seen yet: all powers are 0
        shrink[m][half] = ex2_approx(top[m][half] * rule.factor - base);
        top[m][half] = highest;
        float part = total[m][half] * shrink[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            s[m][n][i] = ex2_approx(fmaf(s[m][n][i], rule.factor, -base));
            part += s[m][n][i];
          }
        }
        total[m][half] = part;
        grown = grown || shrink[m][half] != 1.0f;
      }
    }
    if (__any_sync(kAllLanes, grown)) {  // after the first tiles, seldom
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[m][n][i] *= shrink[m][i / 2];
        }
      }
    }
    multiply<D>(sum, s, v_fragments);
  }

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float all = total[m][half];
      all += __shfl_xor_sync(kAllLanes, all, 1);
      all += __shfl_xor_sync(kAllLanes, all, 2);
      total[m][half] = 1.0f / all;
      const int row = first_of_warp + 16 * m + 8 * half + lane / 4;
      if (arguments.lse != nullptr && lane % 4 == 0 && row < queries.count) {
        arguments.lse[(first_token + row) * shape.heads + queries.head] = (top[m][half] * rule.factor + log2f(all)) * kLn2;
      }
    }
  }
  store_rows<D>(arguments.out + (first_token + first_of_warp) * shape.out_stride + int64_t{queries.head} * shape.head_dim, shape.out_stride,
                queries.count - first_of_warp, rows_of_warp, sum, total, shape);
}

// ---- f32 ----

template <int D>
struct F32ForwardTile {
  static constexpr int kQueries = D <= 128 ? 64 : 32;
  static constexpr int kKeys = D <= 128 ? 32 : 16;
  static constexpr int kBytes = (kQueries + 2 * kKeys) * kRowBytes<float, D> + kQueries * kScoreStride<kKeys> * 4;
};

template <int D>
__global__ void __launch_bounds__(kF32Threads) attention_forward_f32(const ForwardArguments<float> arguments) {
  using Tile = F32ForwardTile<D>;
  constexpr int kR = Tile::kQueries / 16, kC = Tile::kKeys / 16;
  const AttentionShape &shape = arguments.shape;
  QueryTile<Tile::kQueries, Tile::kKeys> queries;
  if (!queries.find(shape)) return;
  const gatun_segment &segment = queries.segment;

  unsigned char *q_tile = dynamic_shared<unsigned char>();
  unsigned char *k_tile = q_tile + Tile::kQueries * kRowBytes<float, D>;
  unsigned char *v_tile = k_tile + Tile::kKeys * kRowBytes<float, D>;
  float *probabilities = reinterpret_cast<float *>(v_tile + Tile::kKeys * kRowBytes<float, D>);
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;

  const int64_t kv_column = int64_t{queries.head / shape.group} * shape.head_dim;
  const int64_t first_token = int64_t{segment.query_begin} + queries.first;
  load_tile<float, D, Tile::kQueries, kF32Threads>(q_tile, arguments.q + first_token * shape.q_stride + int64_t{queries.head} * shape.head_dim,
                                                   shape.q_stride, queries.count, shape);

  const ScoreRule &rule = shape.rule;
  float sum[kR][D / 16] = {};
  float top[kR], total[kR];
#pragma unroll
  for (int r = 0; r < kR; ++r) {
    top[r] = -INFINITY;
    total[r] = 0;
  }
#pragma unroll 1
  for (int block = queries.last_block; block >= queries.first_block; --block) {
    __syncthreads();  // the former tiles have been read
    const int64_t row = int64_t{segment.key_begin} + block * Tile::kKeys;
    const int rows = segment.key_length - block * Tile::kKeys;
    load_tile<float, D, Tile::kKeys, kF32Threads>(k_tile, arguments.k + row * shape.kv_stride + kv_column, shape.kv_stride, rows, shape);
    cp_async_commit();
    load_tile<float, D, Tile::kKeys, kF32Threads>(v_tile, arguments.v + row * shape.kv_stride + kv_column, shape.kv_stride, rows, shape);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();  // q and k have arrived
    float s[kR][kC];
    f32_multiply_transposed<D>(s, q_tile, k_tile);
    const bool hidden = queries.partly_hidden(block, shape);
#pragma unroll
    for (int r = 0; r < kR; ++r) {
      const int last = queries.first + ty + 16 * r + queries.shift;
      float highest = top[r];
#pragma unroll
      for (int c = 0; c < kC; ++c) {
        float slope;
        if (rule.bent) s[r][c] = bend<float>(rule, s[r][c], slope);
        const int j = block * Tile::kKeys + tx + 16 * c;
        if (hidden && (j > last || j <= last - shape.window)) s[r][c] = -INFINITY;
        highest = fmaxf(highest, s[r][c]);
      }
#pragma unroll
      for (int step = 8; step > 0; step /= 2) highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, step));
      const float base = highest == -INFINITY ? 0.0f : highest * rule.factor;
      const float shrink = exp2f(top[r] * rule.factor - base);
      top[r] = highest;
      total[r] *= shrink;
#pragma unroll
      for (int c = 0; c < kC; ++c) {
        s[r][c] = exp2f(fmaf(s[r][c], rule.factor, -base));
        total[r] += s[r][c];
        probabilities[(ty + 16 * r) * kScoreStride<Tile::kKeys> + tx + 16 * c] = s[r][c];
      }
#pragma unroll
      for (int i = 0; i < D / 16; ++i) sum[r][i] *= shrink;
    }
    cp_async_wait<0>();
    __syncthreads();  // v has arrived, the probabilities are there
    f32_multiply<D, Tile::kKeys>(sum, probabilities, v_tile);
  }

#pragma unroll
  for (int r = 0; r < kR; ++r) {
    float all = total[r];
#pragma unroll
    for (int step = 8; step > 0; step /= 2) all += __shfl_xor_sync(kAllLanes, all, step);
    const int row = ty + 16 * r;
    if (row >= queries.count) continue;
    if (arguments.lse != nullptr && tx == 0) {
      arguments.lse[(first_token + row) * shape.heads + queries.head] = (top[r] * rule.factor + log2f(all)) * kLn2;
    }
    float *out = arguments.out + (first_token + row) * shape.out_stride + int64_t{queries.head} * shape.head_dim;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const int column = f32_column<D>(i);
      if (column < shape.head_dim) out[column] = sum[r][i] / all;
    }
  }
}

}  // namespace

int32_t attention_forward(void *out, float *lse, const void *q, const void *k, const void *v, const gatun_segment *segments,
                          const gatun_segment *host_segments, int64_t num_segments, int64_t heads, int64_t kv_heads, int64_t head_dim,
                          int64_t q_stride, float scale, float softcap, int64_t window, int32_t dtype, void * /* workspace */, void *stream) {
  return guarded("attention_forward", stream, [&](cudaStream_t on) {
    check_attention(segments, host_segments, num_segments, heads, kv_heads, head_dim, q_stride, softcap, window);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_segments == 0) return;
      check_pointer("out", out);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      const bool aligned = aligned16(out) && aligned16(k) && aligned16(v) && packs<T>(q, head_dim, q_stride);
      const ForwardArguments<T> arguments{
          static_cast<T *>(out),     lse,
          static_cast<const T *>(q), static_cast<const T *>(k),
          static_cast<const T *>(v), attention_shape(segments, heads, kv_heads, head_dim, q_stride, scale, softcap, window, aligned)};
      const Longest longest(host_segments, num_segments);
      const auto run = [&](void (*kernel)(const ForwardArguments<T>), int queries, int threads, int bytes) {
        const dim3 grid(static_cast<unsigned>(heads * num_segments), static_cast<unsigned>(tiles_of(longest.query, queries)));
        launch("attention_forward", kernel, grid, dim3(static_cast<unsigned>(threads)), static_cast<size_t>(bytes), on, arguments);
      };
      if constexpr (std::is_same_v<T, float>) {
        with_head_size<32, 64, 128, 256>(head_dim, [&](auto size) {
          using Tile = F32ForwardTile<decltype(size)::value>;
          run(attention_forward_f32<decltype(size)::value>, Tile::kQueries, kF32Threads, Tile::kBytes);
        });
      } else {
        with_head_size<32, 64, 80, 96, 128, 256>(head_dim, [&](auto size) {
          using Tile = ForwardTile<decltype(size)::value>;
          run(attention_forward_bf16<decltype(size)::value>, Tile::kQueries, Tile::kWarps * kWarp, Tile::kBytes);
        });
      }
    });
  });
}

}  // namespace gatun::GATUN_ISA
