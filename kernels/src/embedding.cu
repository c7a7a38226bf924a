/*
 * embedding: y[t] = scale * table[token_ids[t]] + position_table[positions[t]].
 *   d_table[token_ids[t]] += scale * d_y[t]; d_position_table[positions[t]] += d_y[t]
 * Forward: elementwise.h over the elements of y. Traffic: one read (two with positions) and one write per element; 1 or 2 FLOPs.
 * Backward: the tokens are sorted by id, tokens of one id staying in their order (radix sort, 8 bits a pass, as many passes as the ids have
 * bytes). Then a warp takes 32 * 4 columns of one distinct id and adds its tokens' rows in their order, eight rows in flight. So only rows
 * that were seen are read and written, and the sums are the CPU's, bit for bit. Shared memory: 1 KiB per warp that sorts. Workspace: 16 bytes
 * per token and 128 KiB. Deterministic. Traffic: one read of d_y, a read and a write of each row that was seen, and 20 bytes per token and
 * pass; 2 FLOPs per element of d_y.
 */
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct EmbeddingForward {
  T *y;
  const T *table, *position_table;
  const int32_t *token_ids, *positions;
  int64_t hidden;
  float scale;

  template <int N>
  struct Loaded {
    Raw<T, N> row, position;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    const int64_t t = at / hidden, column = at - t * hidden;
    Loaded<N> loaded{load_raw<N>(table + token_ids[t] * hidden + column), {}};
    if (position_table != nullptr) loaded.position = load_raw<N>(position_table + positions[t] * hidden + column);
    return loaded;
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float row[N], position[N];
    unpack<T, N>(row, loaded.row);
    unpack<T, N>(position, loaded.position);
#pragma unroll
    for (int i = 0; i < N; ++i) row[i] = position_table == nullptr ? scale * row[i] : fmaf(scale, row[i], position[i]);
    store_raw<N>(y + at, pack<T, N>(row));
  }
};

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int64_t kMostChunks = 128;
constexpr int64_t kLeastChunkTokens = 256;
constexpr int kScanThreads = 1024;

/** Tokens in consecutive chunks of a multiple of 32, one per warp that sorts. */
struct TokenChunks {
  int64_t tokens, tokens_each, count;

  static TokenChunks of(int64_t tokens) {
    int64_t each = ceil_div(tokens, kMostChunks);
    if (each < kLeastChunkTokens) each = kLeastChunkTokens;
    each = ceil_div(each, kWarp) * kWarp;
    return {tokens, each, ceil_div(tokens, each)};
  }
};

/** Ids with their tokens; token == NULL stands for 0, 1, 2, ... */
struct IdsOfTokens {
  const int32_t *id;
  const int32_t *token;
};

/**
 * Calls body(at, digit, peers) for the chunk's places, 32 at a time in their order: peers are the lanes with the same digit. Lanes beyond the
 * end have digit kDigits.
 */
template <class Body>
__device__ __forceinline__ void for_digits(IdsOfTokens ids, TokenChunks chunks, int shift, const Body &body) {
  const int64_t begin = blockIdx.x * chunks.tokens_each;
  const int64_t end = begin + chunks.tokens_each < chunks.tokens ? begin + chunks.tokens_each : chunks.tokens;
  for (int64_t first = begin; first < end; first += kWarp) {
    const int64_t at = first + threadIdx.x;
    const int digit = at < end ? static_cast<int>(static_cast<uint32_t>(ids.id[at]) >> shift) & (kDigits - 1) : kDigits;
    body(at, digit, __match_any_sync(kAllLanes, digit));
    __syncwarp();
  }
}

/** counts[digit, chunk] = tokens of the chunk with this digit. */
__global__ void __launch_bounds__(kWarp) count_digits_kernel(int32_t *counts, IdsOfTokens ids, TokenChunks chunks, int shift) {
  GATUN_SHARED(bins, int32_t[kDigits + 1]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int digit = lane; digit <= kDigits; digit += kWarp) bins[digit] = 0;
  __syncwarp();
  for_digits(ids, chunks, shift, [&](int64_t, int digit, unsigned peers) {
    if (__ffs(static_cast<int>(peers)) - 1 == lane) bins[digit] += __popc(peers);
  });
  for (int digit = lane; digit < kDigits; digit += kWarp) counts[digit * chunks.count + blockIdx.x] = bins[digit];
}

/** counts[i] = sum of the counts before i. One block. */
__global__ void __launch_bounds__(kScanThreads) scan_counts_kernel(int32_t *counts, int count) {
  GATUN_SHARED(warp_totals, int32_t[kScanThreads / kWarp]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int each = (count + kScanThreads - 1) / kScanThreads;
  const int begin = thread * each, end = begin + each < count ? begin + each : count;
  int32_t own = 0;
  for (int i = begin; i < end; ++i) own += counts[i];
  const auto lanes_scan = [lane](int32_t value) {
#pragma unroll
    for (unsigned step = 1; step < kWarp; step *= 2) {
      const int32_t before = __shfl_up_sync(kAllLanes, value, step);
      if (lane >= static_cast<int>(step)) value += before;
    }
    return value;
  };
  const int32_t inclusive = lanes_scan(own);
  if (lane == kWarp - 1) warp_totals[warp] = inclusive;
  __syncthreads();
  if (warp == 0) {
    const int32_t total = warp_totals[lane];
    warp_totals[lane] = lanes_scan(total) - total;
  }
  __syncthreads();
  int32_t before = warp_totals[warp] + inclusive - own;
  for (int i = begin; i < end; ++i) {
    const int32_t value = counts[i];
    counts[i] = before;
    before += value;
  }
}

/** Puts every token behind those with a smaller digit and those with the same digit before it. */
__global__ void __launch_bounds__(kWarp)
    place_tokens_kernel(int32_t *id_out, int32_t *token_out, const int32_t *places, IdsOfTokens ids, TokenChunks chunks, int shift) {
  GATUN_SHARED(next, int32_t[kDigits + 1]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int digit = lane; digit < kDigits; digit += kWarp) next[digit] = places[digit * chunks.count + blockIdx.x];
  if (lane == 0) next[kDigits] = 0;
  __syncwarp();
  for_digits(ids, chunks, shift, [&](int64_t at, int digit, unsigned peers) {
    const int rank = __popc(peers & ((1u << lane) - 1));
    const int32_t place = next[digit] + rank;
    __syncwarp();
    if (rank == 0) next[digit] += __popc(peers);
    if (digit == kDigits) return;
    id_out[place] = ids.id[at];
    token_out[place] = ids.token == nullptr ? static_cast<int32_t>(at) : ids.token[at];
  });
}

constexpr int kAddWarps = 8;
constexpr int kRowsInFlight = 8;
constexpr int kAddPack = 4;

/** d[id] += scale * d_y[token] over the tokens of an id, which lie together. A warp whose place does not begin an id has nothing to do. */
template <int N, class T>
__global__ void __launch_bounds__(kWarp *kAddWarps)
    add_rows_kernel(float *d, const T *d_y, const int32_t *ids, const int32_t *tokens, int64_t count, int64_t hidden, float scale) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kAddWarps + static_cast<int>(threadIdx.x) / kWarp;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kWarp + lane) * N;
  if (first >= count || column >= hidden) return;
  const int32_t id = ids[first];
  if (first > 0 && ids[first - 1] == id) return;
  float *d_row = d + id * hidden + column;
  float sums[N];
  unpack<float, N>(sums, load_raw<N>(d_row));
  bool more = true;
  for (int64_t at = first; more; at += kRowsInFlight) {
    Raw<T, N> raw[kRowsInFlight];
    bool same[kRowsInFlight];
#pragma unroll
    for (int i = 0; i < kRowsInFlight; ++i) {
      const int64_t place = at + i < count ? at + i : count - 1;
      same[i] = at + i < count && ids[place] == id;
      raw[i] = Raw<T, N>{};
      if (same[i]) raw[i] = load_raw<N>(d_y + tokens[place] * hidden + column);
    }
#pragma unroll
    for (int i = 0; i < kRowsInFlight; ++i) {
      if (!same[i]) continue;
      float row[N];
      unpack<T, N>(row, raw[i]);
#pragma unroll
      for (int j = 0; j < N; ++j) sums[j] = fmaf(scale, row[j], sums[j]);
    }
    more = same[kRowsInFlight - 1];
  }
  store_raw<N>(d_row, pack<float, N>(sums));
}

/** d[ids[t]] += scale * d_y[t] in the order of t; ids are below `bound`. */
template <class T>
void add_by_id(cudaStream_t stream, float *d, const T *d_y, const int32_t *ids, int64_t tokens, int64_t hidden, int64_t bound, float scale,
               void *workspace) {
  constexpr const char *kName = "embedding_backward";
  const TokenChunks chunks = TokenChunks::of(tokens);
  int32_t *counts = static_cast<int32_t *>(workspace);
  int32_t *const halves[2] = {counts + kDigits * kMostChunks, counts + kDigits * kMostChunks + 2 * tokens};
  IdsOfTokens from{ids, nullptr};
  int pass = 0;
  do {
    const int shift = pass * kDigitBits;
    int32_t *id_out = halves[pass % 2], *token_out = id_out + tokens;
    const auto blocks = static_cast<unsigned>(chunks.count);
    launch(kName, count_digits_kernel, blocks, kWarp, 0, stream, counts, from, chunks, shift);
    launch(kName, scan_counts_kernel, 1, kScanThreads, 0, stream, counts, kDigits * chunks.count);
    launch(kName, place_tokens_kernel, blocks, kWarp, 0, stream, id_out, token_out, counts, from, chunks, shift);
    from = {id_out, token_out};
    ++pass;
  } while (pass * kDigitBits < 32 && (bound - 1) >> (pass * kDigitBits) > 0);
  const bool whole = hidden % kAddPack == 0 && aligned<kAddPack>(d_y) && aligned16(d);
  const int each = whole ? kAddPack : 1;
  const dim3 grid(static_cast<unsigned>(ceil_div(tokens, kAddWarps)), static_cast<unsigned>(ceil_div(hidden, kWarp * each)));
  launch(kName, whole ? add_rows_kernel<kAddPack, T> : add_rows_kernel<1, T>, grid, kWarp * kAddWarps, 0, stream, d, d_y, from.id, from.token, tokens,
         hidden, scale);
}

}  // namespace

int32_t embedding_forward(void *y, const void *table, const void *position_table, const int32_t *token_ids, const int32_t *positions, int64_t tokens,
                          int64_t hidden, int64_t vocab, int64_t /* max_positions */, float scale, int32_t dtype, void *stream) {
  return guarded("embedding_forward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("hidden", hidden);
    check_positive("vocab", vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("table", table);
      check_pointer("token_ids", token_ids);
      if (position_table != nullptr) check_pointer("positions", positions);
      const bool whole = packs<T>(y, hidden, hidden) && aligned16(table) && aligned16(position_table);
      for_elements<kPack<T>, 2>("embedding_forward", on, whole, tokens * hidden,
                                EmbeddingForward<T>{static_cast<T *>(y), static_cast<const T *>(table), static_cast<const T *>(position_table),
                                                    token_ids, positions, hidden, scale});
    });
  });
}

int32_t embedding_backward(float *d_table, float *d_position_table, const void *d_y, const int32_t *token_ids, const int32_t *positions,
                           int64_t tokens, int64_t hidden, int64_t vocab, int64_t max_positions, float scale, int32_t dtype, void *workspace,
                           void *stream) {
  return guarded("embedding_backward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("hidden", hidden);
    check_positive("vocab", vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_table", d_table);
      check_pointer("d_y", d_y);
      check_pointer("token_ids", token_ids);
      if (d_position_table != nullptr) check_pointer("positions", positions);
      check_pointer("workspace", workspace);
      if (tokens > INT32_MAX) unsupported("tokens is %lld, expected at most 2^31 - 1: split the batch", static_cast<long long>(tokens));
      const T *d_rows = static_cast<const T *>(d_y);
      add_by_id(on, d_table, d_rows, token_ids, tokens, hidden, vocab, scale, workspace);
      if (d_position_table != nullptr) add_by_id(on, d_position_table, d_rows, positions, tokens, hidden, max_positions, 1.0f, workspace);
    });
  });
}

}  // namespace gatun::GATUN_ISA
