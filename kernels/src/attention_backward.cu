/*
 * attention_backward: with s = bend(scale q k^T) and p = 2^(log2(e) (s - lse)), computed again from q, k and lse:
 *   delta = rowsum(d_out out),  d_p = d_out v^T,  d_s = p (d_p - delta) bend'
 *   d_q = scale d_s k,  d_k = scale d_s^T q,  d_v = p^T d_out
 *
 * Three kernels, one after the other:
 *   delta    a few lanes per token and head. It waits, as f32, in the first bytes of the head's place in d_q, which is written last.
 *   d_k, d_v a block per tile of keys and key head: goes through the query heads of the group and the tiles of queries that see its keys
 *   d_q      a block per tile of queries and head: goes through the tiles of keys that its queries see
 * The last two are one kernel: `resident` rows (keys; queries) stay in shared memory, `streamed` rows (queries; keys) go by. With
 * x1, x2 = resident k, v or q, d_out and y1, y2 = streamed q, d_out or k, v: scores x1 y1^T, d_p x2 y2^T, sums d_s y1 and p y2. So what products
 * leave in registers is always the left operand of the next, and shared memory holds inputs only. Tiles that see nothing are skipped, only
 * those at an edge are masked. Grid: x = head and segment, y = tile, longest first.
 *
 * bf16   Tensor cores (mma.m16n8k16), f32 sums. Four warps with 16 kM resident rows each; the next streamed tile is copied while one is used.
 *        At head size 256, d_k and d_v take a launch each, since their sums do not fit the registers together.
 *        Head sizes 32, 64, 80, 96, 128, 256; others as the next of them. Shared memory: two resident tiles and two times two streamed ones, rows of
 *        2 D + 16 bytes; the 16 bytes hold lse and delta of a streamed query. 54 KiB at 64, 68 KiB at 128, 99 KiB at 256.
 * f32    FFMA, nothing rounded to less than f32. 16 x 16 threads; p and d_s go through shared memory. At most 76 KiB.
 *        Head sizes 32, 64, 128, 256.
 *
 * FLOPs: 14 head_dim per pair of query head and key seen: four products for d_k and d_v, three for d_q (two of the seven are done twice, so that
 * nothing is added up across blocks). Traffic: q, d_out, k, v, d_q, d_k, d_v once or twice, and the streamed rows once per tile (mostly from L2).
 * Deterministic: every output is written by one thread, sums have one order.
 */
#include "attention.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct BackwardArguments {
  T *d_q, *d_k, *d_v;
  const T *d_out, *out;
  const float *lse;
  const T *q, *k, *v;
  int64_t d_q_stride;
  AttentionShape shape;
};

/** What a kernel computes. */
enum class Gradient { kQuery, kKeyAndValue, kKey, kValue };

// ---- delta ----

constexpr int kDeltaThreads = 256;

__device__ __forceinline__ void store_delta(float *place, float delta) {
  *place = delta;
}
__device__ __forceinline__ void store_delta(bf16 *place, float delta) {
  const uint32_t bits = __float_as_uint(delta);
  place[0].bits = static_cast<uint16_t>(bits);
  place[1].bits = static_cast<uint16_t>(bits >> 16);
}
__device__ __forceinline__ float load_delta(const float *place) {
  return *place;
}
__device__ __forceinline__ float load_delta(const bf16 *place) {
  return __uint_as_float(place[0].bits | static_cast<uint32_t>(place[1].bits) << 16);
}

/** A pack per lane and turn; `lanes`, a power of two, share a token's head. Grid: x = segment, y = part of its heads. */
template <class T>
__global__ void __launch_bounds__(kDeltaThreads) attention_delta(const BackwardArguments<T> arguments, int lanes) {
  const AttentionShape &shape = arguments.shape;
  const gatun_segment segment = shape.segments[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  const int64_t at = int64_t{blockIdx.y} * (kDeltaThreads / lanes) + thread / lanes;
  const bool inside = at < int64_t{segment.query_length} * shape.heads;
  const int64_t token = segment.query_begin + at / shape.heads;
  const int head = static_cast<int>(at % shape.heads);
  const int64_t first = token * shape.out_stride + int64_t{head} * shape.head_dim;
  float sum = 0;
  for (int column = lane * kPack<T>; inside && column < shape.head_dim; column += lanes * kPack<T>) {
    const T *d_out = arguments.d_out + first + column, *out = arguments.out + first + column;
    if (shape.aligned) {
      float a[kPack<T>], b[kPack<T>];
      load_pack(a, d_out);
      load_pack(b, out);
#pragma unroll
      for (int i = 0; i < kPack<T>; ++i) sum = fmaf(a[i], b[i], sum);
    } else {
      for (int i = 0; i < kPack<T>; ++i) sum = fmaf(to_float(d_out[i]), to_float(out[i]), sum);
    }
  }
  for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  if (inside && lane == 0) store_delta(arguments.d_q + token * arguments.d_q_stride + int64_t{head} * shape.head_dim, sum);
}

// ---- which rows ----

/** The resident rows of one block, and what it goes through: `parts` times the streamed tiles [first_tile, end_tile). Rows of the segment. */
template <bool kOfQuery, int kResident, int kStreamed>
struct BackwardTile {
  gatun_segment segment;
  int head; /* query head if kOfQuery, else key head */
  int first, count;
  int shift;
  int first_tile, end_tile, parts;

  /** False: the segment has no such tile. */
  __device__ bool find(const AttentionShape &shape) {
    const unsigned heads = static_cast<unsigned>(kOfQuery ? shape.heads : shape.heads / shape.group);
    head = static_cast<int>(blockIdx.x % heads);
    segment = shape.segments[blockIdx.x / heads];
    shift = segment.key_length - segment.query_length;
    const int rows = kOfQuery ? segment.query_length : segment.key_length;
    const int tiles = tiles_of(rows, kResident), tile = kOfQuery ? tiles - 1 - static_cast<int>(blockIdx.y) : static_cast<int>(blockIdx.y);
    if (tile < 0 || tile >= tiles) return false;
    first = tile * kResident;
    count = smaller(kResident, rows - first);
    if (kOfQuery) {
      first_tile = larger(0, first + shift - shape.window + 1) / kStreamed;
      end_tile = tiles_of(first + count + shift, kStreamed);
      parts = 1;
    } else {
      // Key j is seen by queries j - shift up to, and not with, j - shift + window.
      first_tile = larger(0, first - shift) / kStreamed;
      end_tile = tiles_of(smaller(segment.query_length, larger(0, first + count - 1 - shift + shape.window)), kStreamed);
      parts = shape.group;
    }
    return true;
  }

  /** Whether some query of the tile does not see some key of it. */
  __device__ bool partly_hidden(int tile, const AttentionShape &shape) const {
    const int query = kOfQuery ? first : tile * kStreamed, last_query = query + (kOfQuery ? kResident : kStreamed) - 1;
    const int key = kOfQuery ? tile * kStreamed : first, last_key = key + (kOfQuery ? kStreamed : kResident) - 1;
    return last_key > query + shift || key <= last_query + shift - shape.window;
  }

  __device__ bool hidden(int resident, int streamed, const AttentionShape &shape) const {
    const int query = kOfQuery ? resident : streamed, key = kOfQuery ? streamed : resident;
    return key > query + shift || key <= query + shift - shape.window;
  }
};

/** Elements of a row of shared memory that come after its D. */
template <class T, int D>
__device__ __forceinline__ float *after_row(unsigned char *tile, int row) {
  return reinterpret_cast<float *>(tile + row * kRowBytes<T, D> + D * static_cast<int>(sizeof(T)));
}

/** Begins to copy lse and delta of queries [0, rows) behind the rows of a tile of kRows; zeros beyond. */
template <class T, int D, int kRows>
__device__ __forceinline__ void load_row_sums(unsigned char *tile, const BackwardArguments<T> &arguments, int64_t token, int head, int rows) {
  const int row = static_cast<int>(threadIdx.x);
  if (row >= kRows) return;
  const AttentionShape &shape = arguments.shape;
  float *place = after_row<T, D>(tile, row);
  const bool valid = row < rows;
  const int64_t at = valid ? token + row : token;
  const T *delta = arguments.d_q + at * arguments.d_q_stride + int64_t{head} * shape.head_dim;
  cp_async_4(shared_address(place), arguments.lse + at * shape.heads + head, valid);
  if (shape.aligned) {
    cp_async_4(shared_address(place + 1), delta, valid);
  } else {
    place[1] = valid ? load_delta(delta) : 0.0f;
  }
}

// ---- bf16 ----

template <int D, Gradient kOf>
struct BackwardSizes {
  static constexpr bool kOfQuery = kOf == Gradient::kQuery;
  static constexpr int kWarps = 4;
  static constexpr int kM = D <= 32 || (kOfQuery && D <= 96) ? 2 : 1; /* more do not fit the registers */
  static constexpr int kResident = 16 * kM * kWarps;
  static constexpr int kStreamed = D == 64 && !kOfQuery ? 64 : D <= 128 ? 32 : 16;
  /** Left to itself (0), the compiler saves registers for the sake of a third block; for one kernel more than it can without spilling. */
  static constexpr int kBlocks = kOfQuery && D == 64 ? 2 : 0;
  static constexpr int kBytes = (2 * kResident + 4 * kStreamed) * kRowBytes<bf16, D>;
};

template <int D, Gradient kOf>
__global__ void __launch_bounds__(BackwardSizes<D, kOf>::kWarps *kWarp, BackwardSizes<D, kOf>::kBlocks)
    attention_backward_bf16(const BackwardArguments<bf16> arguments) {
  using Sizes = BackwardSizes<D, kOf>;
  constexpr bool kOfQuery = Sizes::kOfQuery;
  constexpr bool kNeedsScoreGradient = kOf != Gradient::kValue, kNeedsValueGradient = kOf == Gradient::kKeyAndValue || kOf == Gradient::kValue;
  constexpr int kM = Sizes::kM, kN = Sizes::kStreamed / 8, kThreads = Sizes::kWarps * kWarp;
  const AttentionShape &shape = arguments.shape;
  BackwardTile<kOfQuery, Sizes::kResident, Sizes::kStreamed> block;
  if (!block.find(shape)) return;
  const gatun_segment &segment = block.segment;

  constexpr int kResidentBytes = Sizes::kResident * kRowBytes<bf16, D>, kStreamedBytes = Sizes::kStreamed * kRowBytes<bf16, D>;
  unsigned char *x1 = dynamic_shared<unsigned char>(), *x2 = x1 + kResidentBytes, *stages = x2 + kResidentBytes;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, first_of_warp = static_cast<int>(threadIdx.x) / kWarp * 16 * kM;

  const int64_t first_token = int64_t{segment.query_begin} + block.first;
  const int64_t resident_row = int64_t{segment.key_begin} + block.first;
  const int64_t kv_column = int64_t{kOfQuery ? block.head / shape.group : block.head} * shape.head_dim;
  const int64_t key_at = resident_row * shape.kv_stride + kv_column;
  const int64_t out_at = first_token * shape.out_stride + int64_t{block.head} * shape.head_dim;
  if constexpr (kOfQuery) {
    load_tile<bf16, D, Sizes::kResident, kThreads>(x1, arguments.q + first_token * shape.q_stride + int64_t{block.head} * shape.head_dim,
                                                   shape.q_stride, block.count, shape);
    load_tile<bf16, D, Sizes::kResident, kThreads>(x2, arguments.d_out + out_at, shape.out_stride, block.count, shape);
  } else {
    load_tile<bf16, D, Sizes::kResident, kThreads>(x1, arguments.k + key_at, shape.kv_stride, block.count, shape);
    if constexpr (kNeedsScoreGradient) {
      load_tile<bf16, D, Sizes::kResident, kThreads>(x2, arguments.v + key_at, shape.kv_stride, block.count, shape);
    }
  }
  // The streamed tiles of all parts are numbered through.
  const int tiles = block.end_tile - block.first_tile, steps = tiles > 0 ? tiles * block.parts : 0;
  int next_tile = block.first_tile, next_part = 0;  // to be copied
  const auto load_next = [&](int stage) {
    unsigned char *y1 = stages + stage * 2 * kStreamedBytes, *y2 = y1 + kStreamedBytes;
    const int first = next_tile * Sizes::kStreamed;
    if constexpr (kOfQuery) {
      const int64_t at = (int64_t{segment.key_begin} + first) * shape.kv_stride + kv_column;
      load_tile<bf16, D, Sizes::kStreamed, kThreads>(y1, arguments.k + at, shape.kv_stride, segment.key_length - first, shape);
      load_tile<bf16, D, Sizes::kStreamed, kThreads>(y2, arguments.v + at, shape.kv_stride, segment.key_length - first, shape);
    } else {
      const int head = block.head * shape.group + next_part, rows = segment.query_length - first;
      const int64_t token = int64_t{segment.query_begin} + first, column = int64_t{head} * shape.head_dim;
      load_tile<bf16, D, Sizes::kStreamed, kThreads>(y1, arguments.q + token * shape.q_stride + column, shape.q_stride, rows, shape);
      load_tile<bf16, D, Sizes::kStreamed, kThreads>(y2, arguments.d_out + token * shape.out_stride + column, shape.out_stride, rows, shape);
      load_row_sums<bf16, D, Sizes::kStreamed>(y1, arguments, token, head, rows);
    }
    cp_async_commit();
    if (++next_tile == block.end_tile) {
      next_tile = block.first_tile;
      ++next_part;
    }
  };
  if (steps > 0) load_next(0);

  const ScoreRule &rule = shape.rule;
  float row_lse[kM][2], row_delta[kM][2];  // of resident queries; lse in powers of two
  if constexpr (kOfQuery) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first_of_warp + 16 * m + 8 * half + lane / 4;
        const bool valid = row < block.count;
        const int64_t token = first_token + row;
        row_lse[m][half] = valid ? arguments.lse[token * shape.heads + block.head] * kLog2E : 0.0f;
        row_delta[m][half] = valid ? load_delta(arguments.d_q + token * arguments.d_q_stride + int64_t{block.head} * shape.head_dim) : 0.0f;
      }
    }
  }
  const SharedAddress x1_fragments = shared_address(fragment_rows<D>(x1 + first_of_warp * kRowBytes<bf16, D>));
  float sum[kNeedsScoreGradient ? kM : 1][D / 8][4] = {};        // d_q or d_k
  float value_sum[kNeedsValueGradient ? kM : 1][D / 8][4] = {};  // d_v
  int tile = block.first_tile;

#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<0>();
    __syncthreads();  // this tile has arrived, the former one has been read
    if (step + 1 < steps) load_next((step + 1) % 2);
    unsigned char *y1 = stages + step % 2 * 2 * kStreamedBytes, *y2 = y1 + kStreamedBytes;

    float p[kM][kN][4] = {};
    multiply_transposed<D>(p, x1_fragments, shared_address(fragment_columns<D>(y1)));
    float d_s[kM][kN][4] = {};
    if constexpr (kNeedsScoreGradient) {
      multiply_transposed<D>(d_s, x1_fragments + kResidentBytes, shared_address(fragment_columns<D>(y2)));
    }
    const bool hidden = block.partly_hidden(tile, shape);
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      float column_lse[2] = {}, column_delta[2] = {};
      if constexpr (!kOfQuery) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float2 sums = *reinterpret_cast<const float2 *>(after_row<bf16, D>(y1, column + i));
          column_lse[i] = sums.x * kLog2E;
          column_delta[i] = sums.y;
        }
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float score = p[m][n][i], slope = 1.0f;
          if (rule.bent) score = bend<bf16>(rule, score, slope);
          float power = ex2_approx(fmaf(score, rule.factor, kOfQuery ? -row_lse[m][i / 2] : -column_lse[i % 2]));
          if (hidden) {
            const int resident = block.first + first_of_warp + 16 * m + 8 * (i / 2) + lane / 4;
            if (block.hidden(resident, tile * Sizes::kStreamed + column + i % 2, shape)) power = 0.0f;
          }
          p[m][n][i] = power;
          const float delta = kOfQuery ? row_delta[m][i / 2] : column_delta[i % 2];
          d_s[m][n][i] = power * (d_s[m][n][i] - delta) * slope;
        }
      }
    }
    if constexpr (kNeedsValueGradient) multiply<D>(value_sum, p, shared_address(fragment_rows<D>(y2)));
    if constexpr (kNeedsScoreGradient) multiply<D>(sum, d_s, shared_address(fragment_rows<D>(y1)));
    if (++tile == block.end_tile) tile = block.first_tile;
  }

  cp_async_wait<0>();
  __syncthreads();  // where no step waited for the resident rows
  float factor[kM][2];
  const auto store = [&](bf16 *target, int64_t stride, unsigned char *place, const auto &values, float times) {
#pragma unroll
    for (int m = 0; m < kM; ++m) factor[m][0] = factor[m][1] = times;
    store_rows<D>(target + first_of_warp * stride, stride, block.count - first_of_warp, place + first_of_warp * kRowBytes<bf16, D>, values, factor,
                  shape);
  };
  if constexpr (kOfQuery) {
    store(arguments.d_q + first_token * arguments.d_q_stride + int64_t{block.head} * shape.head_dim, arguments.d_q_stride, x1, sum, shape.scale);
  } else {
    if constexpr (kNeedsScoreGradient) store(arguments.d_k + key_at, shape.kv_stride, x1, sum, shape.scale);
    if constexpr (kNeedsValueGradient) store(arguments.d_v + key_at, shape.kv_stride, x2, value_sum, 1.0f);
  }
}

// ---- f32 ----

template <int D>
struct F32BackwardSizes {
  static constexpr int kResident = D <= 128 ? 32 : 16;
  static constexpr int kStreamed = kResident;
  static constexpr int kScoreBytes = kResident * kScoreStride<kStreamed> * 4;
  static constexpr int kBytes = 2 * (kResident + kStreamed) * kRowBytes<float, D> + 2 * kScoreBytes;
};

template <int D, Gradient kOf>
__global__ void __launch_bounds__(kF32Threads, 1) attention_backward_f32(const BackwardArguments<float> arguments) {
  using Sizes = F32BackwardSizes<D>;
  constexpr bool kOfQuery = kOf == Gradient::kQuery;
  constexpr int kR = Sizes::kResident / 16, kC = Sizes::kStreamed / 16;
  const AttentionShape &shape = arguments.shape;
  BackwardTile<kOfQuery, Sizes::kResident, Sizes::kStreamed> block;
  if (!block.find(shape)) return;
  const gatun_segment &segment = block.segment;

  unsigned char *x1 = dynamic_shared<unsigned char>(), *x2 = x1 + Sizes::kResident * kRowBytes<float, D>;
  unsigned char *y1 = x2 + Sizes::kResident * kRowBytes<float, D>, *y2 = y1 + Sizes::kStreamed * kRowBytes<float, D>;
  float *p = reinterpret_cast<float *>(y2 + Sizes::kStreamed * kRowBytes<float, D>);
  float *d_s = p + Sizes::kScoreBytes / 4;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;

  const int64_t first_token = int64_t{segment.query_begin} + block.first;
  const int64_t kv_column = int64_t{kOfQuery ? block.head / shape.group : block.head} * shape.head_dim;
  const int64_t key_at = (int64_t{segment.key_begin} + block.first) * shape.kv_stride + kv_column;
  const int64_t q_column = int64_t{block.head} * shape.head_dim;
  if constexpr (kOfQuery) {
    load_tile<float, D, Sizes::kResident, kF32Threads>(x1, arguments.q + first_token * shape.q_stride + q_column, shape.q_stride, block.count, shape);
    load_tile<float, D, Sizes::kResident, kF32Threads>(x2, arguments.d_out + first_token * shape.out_stride + q_column, shape.out_stride, block.count,
                                                       shape);
    load_row_sums<float, D, Sizes::kResident>(x1, arguments, first_token, block.head, block.count);
  } else {
    load_tile<float, D, Sizes::kResident, kF32Threads>(x1, arguments.k + key_at, shape.kv_stride, block.count, shape);
    load_tile<float, D, Sizes::kResident, kF32Threads>(x2, arguments.v + key_at, shape.kv_stride, block.count, shape);
  }

  const ScoreRule &rule = shape.rule;
  float sum[kR][D / 16] = {}, value_sum[kR][D / 16] = {};
#pragma unroll 1
  for (int part = 0; part < block.parts; ++part) {
#pragma unroll 1
    for (int tile = block.first_tile; tile < block.end_tile; ++tile) {
      __syncthreads();  // the former tiles have been read
      const int first = tile * Sizes::kStreamed;
      if constexpr (kOfQuery) {
        const int64_t at = (int64_t{segment.key_begin} + first) * shape.kv_stride + kv_column;
        load_tile<float, D, Sizes::kStreamed, kF32Threads>(y1, arguments.k + at, shape.kv_stride, segment.key_length - first, shape);
        load_tile<float, D, Sizes::kStreamed, kF32Threads>(y2, arguments.v + at, shape.kv_stride, segment.key_length - first, shape);
      } else {
        const int head = block.head * shape.group + part, rows = segment.query_length - first;
        const int64_t token = int64_t{segment.query_begin} + first, column = int64_t{head} * shape.head_dim;
        load_tile<float, D, Sizes::kStreamed, kF32Threads>(y1, arguments.q + token * shape.q_stride + column, shape.q_stride, rows, shape);
        load_tile<float, D, Sizes::kStreamed, kF32Threads>(y2, arguments.d_out + token * shape.out_stride + column, shape.out_stride, rows, shape);
        load_row_sums<float, D, Sizes::kStreamed>(y1, arguments, token, head, rows);
      }
      cp_async_commit();
      cp_async_wait<0>();
      __syncthreads();  // all tiles have arrived
      float s[kR][kC], d_p[kR][kC];
      f32_multiply_transposed<D>(s, x1, y1);
      f32_multiply_transposed<D>(d_p, x2, y2);
      const bool hidden = block.partly_hidden(tile, shape);
#pragma unroll
      for (int r = 0; r < kR; ++r) {
#pragma unroll
        for (int c = 0; c < kC; ++c) {
          const int row = ty + 16 * r, column = tx + 16 * c;
          const float2 sums = *reinterpret_cast<const float2 *>(kOfQuery ? after_row<float, D>(x1, row) : after_row<float, D>(y1, column));
          float score = s[r][c], slope = 1.0f;
          if (rule.bent) score = bend<float>(rule, score, slope);
          float power = exp2f(fmaf(score, rule.factor, -sums.x * kLog2E));
          if (hidden && block.hidden(block.first + row, first + column, shape)) power = 0.0f;
          if constexpr (!kOfQuery) p[row * kScoreStride<Sizes::kStreamed> + column] = power;
          d_s[row * kScoreStride<Sizes::kStreamed> + column] = power * (d_p[r][c] - sums.y) * slope;
        }
      }
      __syncthreads();  // p and d_s are there
      f32_multiply<D, Sizes::kStreamed>(sum, d_s, y1);
      if constexpr (!kOfQuery) f32_multiply<D, Sizes::kStreamed>(value_sum, p, y2);
    }
  }

#pragma unroll
  for (int r = 0; r < kR; ++r) {
    const int row = ty + 16 * r;
    if (row >= block.count) continue;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const int column = f32_column<D>(i);
      if (column >= shape.head_dim) continue;
      if constexpr (kOfQuery) {
        arguments.d_q[(first_token + row) * arguments.d_q_stride + q_column + column] = sum[r][i] * shape.scale;
      } else {
        arguments.d_k[key_at + row * shape.kv_stride + column] = sum[r][i] * shape.scale;
        arguments.d_v[key_at + row * shape.kv_stride + column] = value_sum[r][i];
      }
    }
  }
}

}  // namespace

int32_t attention_backward(void *d_q, void *d_k, void *d_v, const void *d_out, const void *out, const float *lse, const void *q, const void *k,
                           const void *v, const gatun_segment *segments, const gatun_segment *host_segments, int64_t num_segments, int64_t heads,
                           int64_t kv_heads, int64_t head_dim, int64_t d_q_stride, int64_t q_stride, float scale, float softcap, int64_t window,
                           int32_t dtype, void * /* workspace */, void *stream) {
  return guarded("attention_backward", stream, [&](cudaStream_t on) {
    check_attention(segments, host_segments, num_segments, heads, kv_heads, head_dim, q_stride, softcap, window);
    check_stride("d_q_stride", d_q_stride, heads * head_dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_segments == 0) return;
      check_pointer("d_q", d_q);
      check_pointer("d_k", d_k);
      check_pointer("d_v", d_v);
      check_pointer("d_out", d_out);
      check_pointer("out", out);
      check_pointer("lse", lse);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      const bool aligned = packs<T>(d_q, head_dim, d_q_stride) && aligned16(d_k) && aligned16(d_v) && aligned16(d_out) && aligned16(out) &&
                           packs<T>(q, head_dim, q_stride) && aligned16(k) && aligned16(v);
      const BackwardArguments<T> arguments{static_cast<T *>(d_q),
                                           static_cast<T *>(d_k),
                                           static_cast<T *>(d_v),
                                           static_cast<const T *>(d_out),
                                           static_cast<const T *>(out),
                                           lse,
                                           static_cast<const T *>(q),
                                           static_cast<const T *>(k),
                                           static_cast<const T *>(v),
                                           d_q_stride,
                                           attention_shape(segments, heads, kv_heads, head_dim, q_stride, scale, softcap, window, aligned)};
      const Longest longest(host_segments, num_segments);
      int lanes = 1;
      while (lanes < kWarp && lanes * kPack<T> < head_dim) lanes *= 2;
      const int64_t delta_blocks = ceil_div(longest.query * heads, kDeltaThreads / lanes);
      launch("attention_delta", attention_delta<T>, dim3(static_cast<unsigned>(num_segments), static_cast<unsigned>(delta_blocks)),
             dim3(kDeltaThreads), 0, on, arguments, lanes);
      const auto run = [&](void (*kernel)(const BackwardArguments<T>), bool of_query, int resident, int threads, int bytes) {
        const int tiles = tiles_of(of_query ? longest.query : longest.key, resident);
        const dim3 grid(static_cast<unsigned>((of_query ? heads : kv_heads) * num_segments), static_cast<unsigned>(tiles));
        launch("attention_backward", kernel, grid, dim3(static_cast<unsigned>(threads)), static_cast<size_t>(bytes), on, arguments);
      };
      if constexpr (std::is_same_v<T, float>) {
        with_head_size<32, 64, 128, 256>(head_dim, [&](auto size) {
          constexpr int D = decltype(size)::value;
          using Sizes = F32BackwardSizes<D>;
          run(attention_backward_f32<D, Gradient::kKeyAndValue>, false, Sizes::kResident, kF32Threads, Sizes::kBytes);
          run(attention_backward_f32<D, Gradient::kQuery>, true, Sizes::kResident, kF32Threads, Sizes::kBytes);
        });
      } else {
        with_head_size<32, 64, 80, 96, 128, 256>(head_dim, [&](auto size) {
          constexpr int D = decltype(size)::value;
          const auto run_one = [&]<Gradient kOf>(std::integral_constant<Gradient, kOf>) {
            using Sizes = BackwardSizes<D, kOf>;
            run(attention_backward_bf16<D, kOf>, Sizes::kOfQuery, Sizes::kResident, Sizes::kWarps * kWarp, Sizes::kBytes);
          };
          if constexpr (D <= 128) {
            run_one(std::integral_constant<Gradient, Gradient::kKeyAndValue>{});
          } else {
            run_one(std::integral_constant<Gradient, Gradient::kKey>{});
            run_one(std::integral_constant<Gradient, Gradient::kValue>{});
          }
          run_one(std::integral_constant<Gradient, Gradient::kQuery>{});  // last: it overwrites delta
        });
      }
    });
  });
}

}  // namespace gatun::GATUN_ISA
