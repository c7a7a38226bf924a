/*
 * logprob: with z = logits, or softcap * tanh(logits / softcap):
 *   lse = log sum exp z; entropy = lse - sum p z; log_sum_square = log sum p^2; mean = mean z; argmax; log_prob[n] = z[target] - lse
 *   d_logits[j] = (sum_n d_log_prob[n] ([j = targets[n]] - p[j])) * dz/dlogits,  p = exp(z - lse),  dz/dlogits = 1 - (z / softcap)^2
 *
 * Forward reads a row once from memory, in blocks that stay in the first-level cache: the block's largest value, then its sums
 * relative to the largest value so far, in f32 lanes; blocks are combined in double and rescaled when the largest value grows.
 * Backward is one pass in the same blocks, so that bf16 gradients can overwrite the logits they come from.
 * Threads take rows. Deterministic. Traffic per logit: forward 4 bytes read; backward 4 bytes read and 4 or 2 written.
 */
#include <cmath>

#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int64_t kBlock = 2048;

/** z of logits without a soft cap. */
struct Uncapped {
  static constexpr bool kCaps = false;
  GATUN_INLINE floats z(floats logits) const { return logits; }
  GATUN_INLINE float z(float logit) const { return logit; }
};
struct Capped {
  static constexpr bool kCaps = true;
  float cap;
  float inverse;  // 1 / cap
  GATUN_INLINE floats ratio(floats logits) const { return tanh(logits * inverse); }
  GATUN_INLINE floats z(floats logits) const { return cap * ratio(logits); }
  GATUN_INLINE float z(float logit) const { return z(splat(logit))[0]; }
};

/** Sums over the vocabulary, relative to the largest z so far. */
struct Totals {
  double exp = 0;                   // sum e^(z - largest)
  double exp_z = 0;                 // sum e^(z - largest) (z - largest)
  double square = 0;                // sum e^(2 (z - largest))
  double z = 0;                     // sum z
  float largest = -INFINITY;        // largest z
  float largest_logit = -INFINITY;  // its logit
  int64_t argmax = 0;

  void raise_largest(float to) {
    if (largest != -INFINITY) {
      const double shift = static_cast<double>(largest) - static_cast<double>(to);
      const double factor = std::exp(shift);
      exp_z = (exp_z + exp * shift) * factor;
      exp *= factor;
      square *= factor * factor;
    }
    largest = to;
  }
};

enum class Outputs { kLseOnly, kAll };

/** Adds one block of `count` logits, the first of which is logit `begin` of its row. */
template <Outputs outputs, class Cap>
GATUN_INLINE void add_block(Totals &totals, const float *logits, int64_t begin, int64_t count, const Cap &cap) {
  constexpr int kUnroll = 4;
  const int64_t unrolled = count / (kUnroll * kLanes) * (kUnroll * kLanes);

  floats most[kUnroll];
  for (floats &m : most) m = splat(-INFINITY);
  for (int64_t i = 0; i < unrolled; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) most[u] = max(load(logits + i + u * kLanes, Whole{}), most[u]);
  }
  for_vectors(count - unrolled, [&](int64_t i, auto span) { most[0] = max(keep(load(logits + unrolled + i, span), -INFINITY, span), most[0]); });
  // tanh never falls, so the largest logit has the largest z.
  const float largest_logit = largest(max(max(most[0], most[1]), max(most[2], most[3])));
  if (largest_logit > totals.largest_logit) {
    totals.largest_logit = largest_logit;
    totals.raise_largest(cap.z(largest_logit));
    if constexpr (outputs == Outputs::kAll) totals.argmax = begin + first_equal(logits, count, largest_logit);
  }

  floats exp_sum[kUnroll] = {}, exp_z_sum[kUnroll] = {}, square_sum[kUnroll] = {}, z_sum[kUnroll] = {};
  const float shift = totals.largest == -INFINITY ? 0.0f : totals.largest;
  const auto add = [&](int u, int64_t i, auto span) GATUN_LAMBDA_INLINE {
    const floats z = cap.z(load(logits + i, span));
    // e^-inf * -inf must be 0, so -inf becomes a finite number whose exponential is 0. A NaN stays one.
    const floats below = max(splat(-3.0e38f), z - shift);
    const floats e = keep(exp(below), 0.0f, span);
    exp_sum[u] += e;
    if constexpr (outputs == Outputs::kAll) {
      exp_z_sum[u] = fma(e, below, exp_z_sum[u]);
      square_sum[u] = fma(e, e, square_sum[u]);
      z_sum[u] += z;  // a part loads zeros, and z(0) = 0
    }
  };
  for (int64_t i = 0; i < unrolled; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) add(u, i + u * kLanes, Whole{});
  }
  for_vectors(count - unrolled, [&](int64_t i, auto span) { add(0, unrolled + i, span); });
  const auto total = [](const floats(&sums)[kUnroll])
                         GATUN_LAMBDA_INLINE { return static_cast<double>(sum((sums[0] + sums[1]) + (sums[2] + sums[3]))); };
  totals.exp += total(exp_sum);
  if constexpr (outputs == Outputs::kAll) {
    totals.exp_z += total(exp_z_sum);
    totals.square += total(square_sum);
    totals.z += total(z_sum);
  }
}

template <Outputs outputs, class Cap>
Totals totals_of_row(const float *logits, int64_t vocab, const Cap &cap) {
  Totals totals;
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    add_block<outputs>(totals, logits + begin, begin, vocab - begin < kBlock ? vocab - begin : kBlock, cap);
  }
  return totals;
}

template <class Body>
void with_softcap(float softcap, const Body &body) {
  if (softcap > 0) {
    body(Capped{softcap, 1.0f / softcap});
  } else {
    body(Uncapped{});
  }
}

void check_predictions(const int32_t *prediction_begin, const int32_t *targets, int64_t rows, int64_t vocab) {
  check_pointer("prediction_begin", prediction_begin);
  check_begins("prediction_begin", prediction_begin, rows);
  const int32_t begin = prediction_begin[0], count = prediction_begin[rows] - begin;
  if (count == 0) return;
  check_pointer("targets", targets);
  check_indices("targets", targets + begin, count, vocab);
}

}  // namespace

int32_t logprob_forward(float *log_prob, float *lse, float *entropy, int32_t *argmax, float *mean, float *log_sum_square, const float *logits,
                        const int32_t *prediction_begin, const int32_t *targets, int64_t rows, int64_t vocab, int64_t logits_stride, float softcap,
                        void *) {
  return guarded("logprob_forward", [&] {
    check_extent("rows", rows);
    check_positive("vocab", vocab);
    check_stride("logits_stride", logits_stride, vocab);
    if (rows == 0) return;
    check_pointer("lse", lse);
    check_pointer("logits", logits);
    check_predictions(prediction_begin, targets, rows, vocab);
    if (prediction_begin[rows] > 0) check_pointer("log_prob", log_prob);
    const bool lse_only = entropy == nullptr && argmax == nullptr && mean == nullptr && log_sum_square == nullptr;
    with_softcap(softcap, [&](const auto cap) {
      parallel_for(rows, rows * vocab * 4, [&](int64_t row) {
        const float *z = logits + row * logits_stride;
        const Totals totals = lse_only ? totals_of_row<Outputs::kLseOnly>(z, vocab, cap) : totals_of_row<Outputs::kAll>(z, vocab, cap);
        const double log_sum = std::log(totals.exp);
        const double row_lse = static_cast<double>(totals.largest) + log_sum;
        lse[row] = static_cast<float>(row_lse);
        if (entropy != nullptr) entropy[row] = static_cast<float>(log_sum - totals.exp_z / totals.exp);
        if (argmax != nullptr) argmax[row] = static_cast<int32_t>(totals.argmax);
        if (mean != nullptr) mean[row] = static_cast<float>(totals.z / static_cast<double>(vocab));
        if (log_sum_square != nullptr) log_sum_square[row] = static_cast<float>(std::log(totals.square) - 2 * log_sum);
        for (int32_t n = prediction_begin[row]; n < prediction_begin[row + 1]; ++n) {
          log_prob[n] = static_cast<float>(static_cast<double>(cap.z(z[targets[n]])) - row_lse);
        }
      });
    });
  });
}

int32_t logprob_backward(void *d_logits, const float *logits, const float *lse, const float *d_log_prob, const int32_t *prediction_begin,
                         const int32_t *targets, int64_t rows, int64_t vocab, int64_t d_logits_stride, int64_t logits_stride, float softcap,
                         int32_t dtype, void *) {
  return guarded("logprob_backward", [&] {
    check_extent("rows", rows);
    check_positive("vocab", vocab);
    check_stride("d_logits_stride", d_logits_stride, vocab);
    check_stride("logits_stride", logits_stride, vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (rows == 0) return;
      check_pointer("d_logits", d_logits);
      check_pointer("logits", logits);
      check_pointer("lse", lse);
      check_predictions(prediction_begin, targets, rows, vocab);
      if (prediction_begin[rows] > 0) check_pointer("d_log_prob", d_log_prob);
      if (d_logits == logits && d_logits_stride * int64_t{sizeof(T)} != logits_stride * int64_t{sizeof(float)}) {
        invalid("d_logits is logits with rows of %lld bytes, expected rows of %lld bytes, those of logits",
                static_cast<long long>(d_logits_stride * int64_t{sizeof(T)}), static_cast<long long>(logits_stride * int64_t{sizeof(float)}));
      }
      with_softcap(softcap, [&]<class Cap>(const Cap cap) {
        parallel_for(rows, rows * vocab * 8, [&](int64_t row) {
          const float *in = logits + row * logits_stride;
          T *out = static_cast<T *>(d_logits) + row * d_logits_stride;
          const int32_t first = prediction_begin[row], end = prediction_begin[row + 1];
          double total = 0;
          for (int32_t n = first; n < end; ++n) total += d_log_prob[n];
          const float of_p = static_cast<float>(-total);
          const float row_lse = lse[row];
          alignas(64) float block[kBlock];
          for (int64_t begin = 0; begin < vocab; begin += kBlock) {
            const int64_t count = vocab - begin < kBlock ? vocab - begin : kBlock;
            for_vectors(count, [&](int64_t i, auto span) { store(block + i, of_p * exp(cap.z(load(in + begin + i, span)) - row_lse), span); });
            for (int32_t n = first; n < end; ++n) {
              if (targets[n] >= begin && targets[n] < begin + count) block[targets[n] - begin] += d_log_prob[n];
            }
            for_vectors(count, [&](int64_t i, auto span) {
              floats d = load(block + i, span);
              if constexpr (Cap::kCaps) {
                const floats ratio = cap.ratio(load(in + begin + i, span));
                d = d * fma(-ratio, ratio, splat(1.0f));
              }
              store(out + begin + i, d, span);
            });
          }
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
