/*
 * rope: rotates the pairs (i, i + half) of every head of q and k, half = head_dim / 2, by the angle of the row's position:
 *   out[i] = in[i] cos - in[i + half] sin; out[i + half] = in[i + half] cos + in[i] sin
 * and files k and v into the rows that attention reads: key_rows[t], and key_copy_rows[t] where that is >= 0 (the copy of a shared prompt).
 * Backward rotates the other way, and adds the two rows of a key that was copied.
 * Threads take tokens. Deterministic. Traffic: q, k, v read once and written once, copied rows once more.
 */
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

enum class Direction { kForward, kBackward };

/** The angles of one position: cos and sin [half], or NULL for no rotation. */
struct Angles {
  const float *cos;
  const float *sin;
};

/** Rotates one head. `in(i, span)` loads elements i...; out may be what it loads from. */
template <Direction direction, class T, class In>
GATUN_INLINE void rotate(T *out, const In &in, Angles angles, int64_t half) {
  for_vectors(half, [&](int64_t i, auto span) {
    const floats a = in(i, span), b = in(half + i, span);
    const floats c = load(angles.cos + i, span), s = load(angles.sin + i, span);
    if constexpr (direction == Direction::kForward) {
      store(out + i, fma(a, c, -(b * s)), span);
      store(out + half + i, fma(b, c, a * s), span);
    } else {
      store(out + i, fma(a, c, b * s), span);
      store(out + half + i, fma(b, c, -(a * s)), span);
    }
  });
}

/** Rotates `heads` consecutive heads, or copies them if there are no angles. */
template <Direction direction, class T>
void rotate_heads(T *out, const T *in, Angles angles, int64_t heads, int64_t head_dim) {
  if (angles.cos == nullptr) {
    if (out != in) std::memcpy(static_cast<void *>(out), in, heads * head_dim * sizeof(T));
    return;
  }
  for (int64_t at = 0; at < heads * head_dim; at += head_dim) {
    rotate<direction>(
        out + at, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE { return load(in + at + i, span); }, angles, head_dim / 2);
  }
}

Angles angles_at(const float *cos, const float *sin, const int32_t *positions, int64_t t, int64_t head_dim) {
  if (cos == nullptr) return {nullptr, nullptr};
  const int64_t at = positions[t] * (head_dim / 2);
  return {cos + at, sin + at};
}

void check_rows(const float *cos, const float *sin, const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens,
                int64_t head_dim) {
  constexpr int64_t kAnyRow = int64_t{1} << 31;
  check_both_or_neither("cos", cos, "sin", sin);
  if (cos != nullptr) {
    if (head_dim % 2 != 0) invalid("head_dim is %lld, expected an even number to rotate in pairs", static_cast<long long>(head_dim));
    check_pointer("positions", positions);
    check_indices("positions", positions, tokens, kAnyRow);
  }
  check_pointer("key_rows", key_rows);
  check_pointer("key_copy_rows", key_copy_rows);
  check_indices("key_rows", key_rows, tokens, kAnyRow);
}

}  // namespace

int32_t rope_forward(void *q_out, void *k_out, void *v_out, const void *q, const void *k, const void *v, const float *cos, const float *sin,
                     const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens, int64_t heads, int64_t kv_heads,
                     int64_t head_dim, int64_t q_out_stride, int64_t q_stride, int64_t kv_stride, int32_t dtype, void *) {
  return guarded("rope_forward", [&] {
    check_rope_shape(tokens, heads, kv_heads, head_dim, q_out_stride, q_stride, kv_stride);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("q_out", q_out);
      check_pointer("k_out", k_out);
      check_pointer("v_out", v_out);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      check_rows(cos, sin, positions, key_rows, key_copy_rows, tokens, head_dim);
      const int64_t kv_width = kv_heads * head_dim;
      parallel_for(tokens, tokens * (heads + 3 * kv_heads) * head_dim * 2 * int64_t{sizeof(T)}, [&](int64_t t) {
        const Angles angles = angles_at(cos, sin, positions, t, head_dim);
        rotate_heads<Direction::kForward>(static_cast<T *>(q_out) + t * q_out_stride, static_cast<const T *>(q) + t * q_stride, angles, heads,
                                          head_dim);
        T *k_row = static_cast<T *>(k_out) + key_rows[t] * kv_width;
        T *v_row = static_cast<T *>(v_out) + key_rows[t] * kv_width;
        rotate_heads<Direction::kForward>(k_row, static_cast<const T *>(k) + t * kv_stride, angles, kv_heads, head_dim);
        std::memcpy(v_row, static_cast<const T *>(v) + t * kv_stride, kv_width * sizeof(T));
        if (key_copy_rows[t] >= 0) {
          std::memcpy(static_cast<T *>(k_out) + key_copy_rows[t] * kv_width, k_row, kv_width * sizeof(T));
          std::memcpy(static_cast<T *>(v_out) + key_copy_rows[t] * kv_width, v_row, kv_width * sizeof(T));
        }
      });
    });
  });
}

int32_t rope_backward(void *d_q, void *d_k, void *d_v, const void *d_q_out, const void *d_k_out, const void *d_v_out, const float *cos,
                      const float *sin, const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, int64_t q_out_stride, int32_t dtype,
                      void *) {
  return guarded("rope_backward", [&] {
    check_rope_shape(tokens, heads, kv_heads, head_dim, q_out_stride, q_stride, kv_stride);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_q", d_q);
      check_pointer("d_k", d_k);
      check_pointer("d_v", d_v);
      check_pointer("d_q_out", d_q_out);
      check_pointer("d_k_out", d_k_out);
      check_pointer("d_v_out", d_v_out);
      check_rows(cos, sin, positions, key_rows, key_copy_rows, tokens, head_dim);
      const int64_t kv_width = kv_heads * head_dim;
      parallel_for(tokens, tokens * (heads + 3 * kv_heads) * head_dim * 2 * int64_t{sizeof(T)}, [&](int64_t t) {
        const Angles angles = angles_at(cos, sin, positions, t, head_dim);
        rotate_heads<Direction::kBackward>(static_cast<T *>(d_q) + t * q_stride, static_cast<const T *>(d_q_out) + t * q_out_stride, angles, heads,
                                           head_dim);
        T *d_k_row = static_cast<T *>(d_k) + t * kv_stride;
        T *d_v_row = static_cast<T *>(d_v) + t * kv_stride;
        const T *k_row = static_cast<const T *>(d_k_out) + key_rows[t] * kv_width;
        const T *v_row = static_cast<const T *>(d_v_out) + key_rows[t] * kv_width;
        if (key_copy_rows[t] < 0) {
          rotate_heads<Direction::kBackward>(d_k_row, k_row, angles, kv_heads, head_dim);
          std::memcpy(d_v_row, v_row, kv_width * sizeof(T));
          return;
        }
        const T *k_copy = static_cast<const T *>(d_k_out) + key_copy_rows[t] * kv_width;
        const T *v_copy = static_cast<const T *>(d_v_out) + key_copy_rows[t] * kv_width;
        const auto both_k = [&](int64_t i, auto span) GATUN_LAMBDA_INLINE { return load(k_row + i, span) + load(k_copy + i, span); };
        if (angles.cos == nullptr) {
          for_vectors(kv_width, [&](int64_t i, auto span) { store(d_k_row + i, both_k(i, span), span); });
        } else {
          for (int64_t at = 0; at < kv_width; at += head_dim) {
            rotate<Direction::kBackward>(
                d_k_row + at, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE { return both_k(at + i, span); }, angles, head_dim / 2);
          }
        }
        for_vectors(kv_width, [&](int64_t i, auto span) { store(d_v_row + i, load(v_row + i, span) + load(v_copy + i, span), span); });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
