/*
 * rope: rotates the pairs (i, i + half) of every head of q and k, half = head_dim / 2, by the angle of the row's position:
 *   out[i] = in[i] cos - in[i + half] sin; out[i + half] = in[i + half] cos + in[i] sin
 * and files k and v into the rows that attention reads: key_rows[t], and key_copy_rows[t] where that is >= 0 (the copy of a shared prompt).
 * Backward rotates the other way, and adds the two rows of a key that was copied.
 * Threads: one launch; a warp takes a token and up to kTurns * 32 packs of its heads (q, then k, then v), the lanes first along half a head,
 * then over heads, so that a lane's angles stay the same and are read once; 16-byte accesses to both halves, kTurns pairs in flight. No shared
 * memory. Deterministic. Traffic: q, k, v read once and written once, copied rows once more, angles from the cache; 3 FLOPs per element.
 */
#include "guard.h"
#include "packs.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kTokensPerBlock = 4;
constexpr int kTurns = 2;

enum class Direction { kForward, kBackward };

/** Forward, q_to is q_out and k_from is k by token; backward, q_to is d_q and k_from is d_k_out by key. kv_stride: of the rows by token. */
template <class T>
struct Rope {
  T *q_to, *k_to, *v_to;
  const T *q_from, *k_from, *v_from;
  const float *cos, *sin;
  const int32_t *positions, *key_rows, *key_copy_rows;
  int64_t tokens, heads, kv_heads, head_dim, q_to_stride, q_from_stride, kv_stride;
};

/** kPaired: `half` elements and those half a head further are rotated; otherwise heads are copied, `half` is the whole head. */
template <int N, Direction kDirection, bool kPaired, class T>
__global__ void __launch_bounds__(kWarp *kTokensPerBlock) rope_kernel(Rope<T> rope) {
  constexpr int kParts = kPaired ? 2 : 1;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock + static_cast<int>(threadIdx.x) / kWarp;
  if (t >= rope.tokens) return;
  const int half = static_cast<int>(rope.head_dim) / kParts, packs = half / N;
  const int lanes_along = packs < kWarp ? packs : kWarp, heads_at_once = kWarp / lanes_along;
  if (lane >= heads_at_once * lanes_along) return;
  const int all_heads = static_cast<int>(rope.heads + 2 * rope.kv_heads), heads = static_cast<int>(rope.heads);
  const int rotated_heads = heads + static_cast<int>(rope.kv_heads), head_dim = static_cast<int>(rope.head_dim);
  const int64_t kv_width = rope.kv_heads * head_dim;
  const int64_t key_row = rope.key_rows[t] * kv_width;
  const int copy = rope.key_copy_rows[t];
  const int64_t to_copy = copy * kv_width - key_row;  // from the row of a key to that of its copy
  const int first_head = static_cast<int>(blockIdx.y) * heads_at_once * kTurns + lane / lanes_along;
  // Where a head lies: q's by token; k's and v's by token on one side, by key on the other.
  const auto place = [&](int head, auto *q, auto *k, auto *v, int64_t q_stride, bool by_key) {
    if (head < heads) return q + (t * q_stride + head * head_dim);
    const int64_t row = by_key ? key_row : t * rope.kv_stride;
    return head < rotated_heads ? k + (row + (head - heads) * head_dim) : v + (row + (head - rotated_heads) * head_dim);
  };

  for (int along = lane % lanes_along; along < packs; along += lanes_along) {
    float cosines[N] = {}, sines[N] = {};
    if constexpr (kPaired) {
      const int64_t angle = rope.positions[t] * half + along * N;
      load_floats<N>(cosines, rope.cos + angle);
      load_floats<N>(sines, rope.sin + angle);
      if constexpr (kDirection == Direction::kBackward) {
#pragma unroll
        for (int i = 0; i < N; ++i) sines[i] = -sines[i];
      }
    }
    Raw<T, N> in[kTurns][kParts], second[kTurns][kParts];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int head = first_head + turn * heads_at_once;
      if (head >= all_heads) break;
      const T *from = place(head, rope.q_from, rope.k_from, rope.v_from, rope.q_from_stride, kDirection == Direction::kBackward) + along * N;
      const bool sums = kDirection == Direction::kBackward && head >= heads && copy >= 0;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        in[turn][part] = load_raw<N>(from + part * half);
        second[turn][part] = Raw<T, N>{};
        if (sums) second[turn][part] = load_raw<N>(from + to_copy + part * half);
      }
    }
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int head = first_head + turn * heads_at_once;
      if (head >= all_heads) break;
      const bool sums = kDirection == Direction::kBackward && head >= heads && copy >= 0;
      if (sums || (kPaired && head < rotated_heads)) {
        float v[kParts][N];
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          unpack<T, N>(v[part], in[turn][part]);
          if (!sums) continue;
          float other[N];
          unpack<T, N>(other, second[turn][part]);
#pragma unroll
          for (int i = 0; i < N; ++i) v[part][i] += other[i];
        }
        if constexpr (kPaired) {
          if (head < rotated_heads) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
              const float a = v[0][i], b = v[1][i];
              v[0][i] = fmaf(a, cosines[i], -(b * sines[i]));
              v[1][i] = fmaf(b, cosines[i], a * sines[i]);
            }
          }
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) in[turn][part] = pack<T, N>(v[part]);
      }
      T *to = place(head, rope.q_to, rope.k_to, rope.v_to, rope.q_to_stride, kDirection == Direction::kForward) + along * N;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        store_raw<N>(to + part * half, in[turn][part]);
        if (kDirection == Direction::kForward && head >= heads && copy >= 0) store_raw<N>(to + to_copy + part * half, in[turn][part]);
      }
    }
  }
}

void check_rows(const float *cos, const float *sin, const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows,
                int64_t head_dim) {
  check_both_or_neither("cos", cos, "sin", sin);
  if (cos != nullptr) {
    if (head_dim % 2 != 0) invalid("head_dim is %lld, expected an even number to rotate in pairs", static_cast<long long>(head_dim));
    check_pointer("positions", positions);
  }
  check_pointer("key_rows", key_rows);
  check_pointer("key_copy_rows", key_copy_rows);
}

template <Direction kDirection, class T>
void run(const char *name, cudaStream_t stream, const Rope<T> &rope) {
  with_bool(rope.cos != nullptr, [&]<class Paired>(Paired) {
    const int64_t along = Paired::value ? rope.head_dim / 2 : rope.head_dim;
    const bool whole = packs<T>(rope.q_to, along, rope.q_to_stride) && packs<T>(rope.q_from, along, rope.q_from_stride) &&
                       packs<T>(rope.k_to, along, rope.kv_stride) && aligned16(rope.v_to) && aligned16(rope.k_from) && aligned16(rope.v_from) &&
                       aligned16(rope.cos) && aligned16(rope.sin);
    const int64_t along_packs = whole ? along / kPack<T> : along;
    const int64_t heads_each = kTurns * (along_packs < kWarp ? kWarp / along_packs : 1);
    const dim3 grid(static_cast<unsigned>(ceil_div(rope.tokens, kTokensPerBlock)),
                    static_cast<unsigned>(ceil_div(rope.heads + 2 * rope.kv_heads, heads_each)));
    launch(name, whole ? rope_kernel<kPack<T>, kDirection, Paired::value, T> : rope_kernel<1, kDirection, Paired::value, T>, grid,
           kWarp * kTokensPerBlock, 0, stream, rope);
  });
}

}  // namespace

int32_t rope_forward(void *q_out, void *k_out, void *v_out, const void *q, const void *k, const void *v, const float *cos, const float *sin,
                     const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens, int64_t heads, int64_t kv_heads,
                     int64_t head_dim, int64_t q_out_stride, int64_t q_stride, int64_t kv_stride, int32_t dtype, void *stream) {
  return guarded("rope_forward", stream, [&](cudaStream_t on) {
    check_rope_shape(tokens, heads, kv_heads, head_dim, q_out_stride, q_stride, kv_stride);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("q_out", q_out);
      check_pointer("k_out", k_out);
      check_pointer("v_out", v_out);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      check_rows(cos, sin, positions, key_rows, key_copy_rows, head_dim);
      run<Direction::kForward>("rope_forward", on,
                               Rope<T>{.q_to = static_cast<T *>(q_out),
                                       .k_to = static_cast<T *>(k_out),
                                       .v_to = static_cast<T *>(v_out),
                                       .q_from = static_cast<const T *>(q),
                                       .k_from = static_cast<const T *>(k),
                                       .v_from = static_cast<const T *>(v),
                                       .cos = cos,
                                       .sin = sin,
                                       .positions = positions,
                                       .key_rows = key_rows,
                                       .key_copy_rows = key_copy_rows,
                                       .tokens = tokens,
                                       .heads = heads,
                                       .kv_heads = kv_heads,
                                       .head_dim = head_dim,
                                       .q_to_stride = q_out_stride,
                                       .q_from_stride = q_stride,
                                       .kv_stride = kv_stride});
    });
  });
}

int32_t rope_backward(void *d_q, void *d_k, void *d_v, const void *d_q_out, const void *d_k_out, const void *d_v_out, const float *cos,
                      const float *sin, const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, int64_t q_out_stride, int32_t dtype,
                      void *stream) {
  return guarded("rope_backward", stream, [&](cudaStream_t on) {
    check_rope_shape(tokens, heads, kv_heads, head_dim, q_out_stride, q_stride, kv_stride);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_q", d_q);
      check_pointer("d_k", d_k);
      check_pointer("d_v", d_v);
      check_pointer("d_q_out", d_q_out);
      check_pointer("d_k_out", d_k_out);
      check_pointer("d_v_out", d_v_out);
      check_rows(cos, sin, positions, key_rows, key_copy_rows, head_dim);
      run<Direction::kBackward>("rope_backward", on,
                                Rope<T>{.q_to = static_cast<T *>(d_q),
                                        .k_to = static_cast<T *>(d_k),
                                        .v_to = static_cast<T *>(d_v),
                                        .q_from = static_cast<const T *>(d_q_out),
                                        .k_from = static_cast<const T *>(d_k_out),
                                        .v_from = static_cast<const T *>(d_v_out),
                                        .cos = cos,
                                        .sin = sin,
                                        .positions = positions,
                                        .key_rows = key_rows,
                                        .key_copy_rows = key_copy_rows,
                                        .tokens = tokens,
                                        .heads = heads,
                                        .kv_heads = kv_heads,
                                        .head_dim = head_dim,
                                        .q_to_stride = q_stride,
                                        .q_from_stride = q_out_stride,
                                        .kv_stride = kv_stride});
    });
  });
}

}  // namespace gatun::GATUN_ISA
