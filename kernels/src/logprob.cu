/*
 * logprob: with z = logits, or softcap * tanh(logits / softcap):
 *   lse = log sum exp z; entropy = lse - sum p z; log_sum_square = log sum p^2; mean = mean z; argmax; log_prob[n] = z[target] - lse
 *   d_logits[j] = (sum_n d_log_prob[n] ([j = targets[n]] - p[j])) * dz/dlogits,  p = exp(z - lse),  dz/dlogits = 1 - (z / softcap)^2
 *
 * A block takes a row, a turn of its loop kTurn logits: kLoads 16-byte loads in flight per thread, neighbours in a warp side by side. Up to
 * three logits before the first 16-byte boundary and behind the last one, where the vocabulary is odd, are single threads' loads.
 *
 * Forward reads a row once. A thread holds the sums over its own logits relative to its own largest z; a turn first finds its largest logit
 * and then takes exponentials, one per logit, of base 2: t = (z - reference) log2(e). The difference comes first: of a product of giants
 * nothing is right behind the point. Of the position of the largest logit a thread keeps the turn, and looks again at the end.
 * At the end sums are brought to the row's largest z and added, lanes in f32, warps in double, in an order that depends on nothing.
 * Blocks begin with the last row: it is what the matrix product has just written, and lies in the second-level cache.
 * Shared memory 648 bytes. Traffic per logit: 4 bytes read; about 11 FLOPs and one exponential, 4 and one if lse is all that is asked for.
 *
 * Backward begins with the first row, the last that forward has read. Traffic per logit: 4 bytes read, 4 or 2 written; 5 FLOPs and one
 * exponential. Rows whose d_log_prob are all zero are not read. No shared memory.
 * In place, bf16 gradients land on logits of the row's first half: element j on the logits j / 2. Elements of turn k, before 2^(i+1) turns,
 * land on logits before 2^i turns, so it is enough that all threads have read turns 0 to 2^i before one writes turn 2^i: a barrier in
 * turns 0, 1, 2, 4, 8, ... The single logits at both ends are read before the first barrier and written behind the last.
 *
 * Logits below -1e29 have probability zero, as -inf has. A target outside of the vocabulary gives a log_prob of NaN. Deterministic.
 */
#include <cmath>

#include "device.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kLoads = 4;
constexpr int kVector = kPack<float>;
constexpr int kTurn = kThreads * kLoads * kVector;

constexpr float kLog2E = 1.44269504088896340736f;
/** t of nothing: 2^kNothing is 0, and so is its product with kNothing. */
constexpr float kNothing = -1e30f;

/** z of logits without a soft cap. */
struct Uncapped {
  static constexpr int kBlocks = 3;  // of the forward pass per multiprocessor, as registers allow
  __device__ float z(float logit) const { return logit; }
  /** d times dz/dlogit. */
  __device__ float slope(float d, float) const { return d; }
};
struct Capped {
  static constexpr int kBlocks = 2;
  float cap;
  float inverse;  // 1 / cap
  __device__ float z(float logit) const { return cap * tanhf(logit * inverse); }
  __device__ float slope(float d, float z) const {
    const float ratio = z * inverse;
    return d * fmaf(-ratio, ratio, 1.0f);
  }
};

/** 2^x within 2 units in the last place; 0 below -126. */
__device__ __forceinline__ float exp2_fast(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

/** Where 16-byte loads of a row begin, how many turns of the loop they are, and the single logits at both ends. */
struct Span {
  int head;       // before the first 16-byte boundary
  int body;       // logits in whole packs
  int singles;    // head and what is behind the last whole pack
  int num_turns;  // of which the last may be part of one
  int vocab;

  __device__ Span(const float *row, int vocab_) : vocab(vocab_) {
    const int to_boundary = static_cast<int>((16 - reinterpret_cast<uintptr_t>(row) % 16) % 16 / sizeof(float));
    head = to_boundary < vocab ? to_boundary : vocab;
    body = (vocab - head) / kVector * kVector;
    singles = vocab - body;
    num_turns = (body + kTurn - 1) / kTurn;
  }

  /** Logit of single `i`, below singles. */
  __device__ int single(int i) const { return i < head ? i : body + i; }
  /** This thread's first logit in a turn. Load u is that of logit first + u * kThreads * kVector. */
  __device__ int first(int turn) const { return head + turn * kTurn + static_cast<int>(threadIdx.x) * kVector; }
  __device__ bool has(int logit) const { return logit < head + body; }
};

// ---- forward ----

enum class Outputs { kLseOnly, kAll };

/** A thread's sums over its logits, relative to its largest z so far. t = (z - reference) log2(e). */
struct Sums {
  float reference = kNothing;  // the largest z
  float exp = 0;               // sum 2^t
  float exp_t = 0;             // sum 2^t t
  float square = 0;            // sum 2^2t
  float z = 0;                 // sum z
  float largest = -INFINITY;   // the largest logit
  int at = 0;                  // the first logit of the turn that had it

  /** Brings the sums to another reference. */
  template <Outputs outputs>
  __device__ __forceinline__ void refer_to(float to) {
    const float shift = fmaxf(kLog2E * (reference - to), kNothing), factor = exp2_fast(shift);
    if constexpr (outputs == Outputs::kAll) {
      exp_t = fmaf(exp, shift, exp_t) * factor;
      square *= factor * factor;
    }
    exp *= factor;
    reference = to;
  }
};

template <class Cap>
__device__ __forceinline__ float reference_of(float logit, const Cap &cap) {
  return fmaxf(cap.z(logit), kNothing);
}

/** Adds kGroups groups of kGroup logits, the first of which is logit `at`. */
template <Outputs outputs, int kGroups, int kGroup, class Cap>
__device__ __forceinline__ void add(Sums &sums, const float (&logits)[kGroups][kGroup], int at, const Cap &cap) {
  float most = logits[0][0];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) most = fmaxf(most, logits[g][i]);
  }
  if (most > sums.largest) {  // tanh never falls, so the largest logit has the largest z
    sums.largest = most;
    sums.at = at;
    sums.refer_to<outputs>(reference_of(most, cap));
  }
  // Sums of sums, so that many equal terms do not round alike.
  float exp = 0, exp_t = 0, square = 0, z_sum = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    float group_exp = 0, group_exp_t = 0, group_square = 0, group_z = 0;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const float z = cap.z(logits[g][i]);
      const float t = kLog2E * (z - sums.reference);
      const float e = exp2_fast(t);
      group_exp += e;
      if constexpr (outputs == Outputs::kAll) {
        group_exp_t = fmaf(e, fmaxf(t, kNothing), group_exp_t);  // 2^-inf * -inf must be 0; a NaN is in e
        group_square = fmaf(e, e, group_square);
        group_z += z;
      }
    }
    exp += group_exp;
    exp_t += group_exp_t;
    square += group_square;
    z_sum += group_z;
  }
  sums.exp += exp;
  sums.exp_t += exp_t;
  sums.square += square;
  sums.z += z_sum;
}

template <Outputs outputs, class Cap>
__device__ __forceinline__ void add_single(Sums &sums, const float *row, int at, const Cap &cap) {
  const float logits[1][1] = {{row[at]}};
  add<outputs>(sums, logits, at, cap);
}

struct ForwardOutputs {
  float *log_prob;
  float *lse;
  float *entropy;
  int32_t *argmax;
  float *mean;
  float *log_sum_square;
};

/** What the warps of a block tell each other. */
struct Exchange {
  float largest[kWarps];
  double exp[kWarps];
  double exp_t[kWarps];
  double square[kWarps];
  double z[kWarps];
  int argmax[kWarps];
  double lse;
};

__device__ __forceinline__ int warp_min(int value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const int other = __shfl_xor_sync(kAllLanes, value, step);
    value = other < value ? other : value;
  }
  return value;
}

/** Sum over the warps, in lanes that are all here: the same in each. */
__device__ __forceinline__ double sum_of_warps(const double (&values)[kWarps]) {
  double value = values[threadIdx.x % kWarps];
#pragma unroll
  for (int step = kWarps / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

template <Outputs outputs, class Cap>
__global__ void __launch_bounds__(kThreads, Cap::kBlocks) forward_kernel(ForwardOutputs out, const float *logits, const int32_t *prediction_begin,
                                                                         const int32_t *targets, int vocab, int64_t logits_stride, Cap cap) {
  GATUN_SHARED(exchange, Exchange);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int64_t row = static_cast<int64_t>(gridDim.x) - 1 - blockIdx.x;
  const float *z = logits + row * logits_stride;
  const Span span(z, vocab);

  // In the order of logits, so that of equal ones a thread keeps the first.
  Sums sums;
  if (thread < span.head) add_single<outputs>(sums, z, thread, cap);
  for (int turn = 0; turn < span.num_turns; ++turn) {
    const int first = span.first(turn);
    if (span.has(first + (kLoads - 1) * kThreads * kVector)) {
      float values[kLoads][kVector];
#pragma unroll
      for (int u = 0; u < kLoads; ++u) load_pack(values[u], z + first + u * kThreads * kVector);
      add<outputs>(sums, values, first, cap);
    } else {
      for (int at = first; span.has(at); at += kThreads * kVector) {
        float values[1][kVector];
        load_pack(values[0], z + at);
        add<outputs>(sums, values, at, cap);
      }
    }
  }
  if (thread >= span.head && thread < span.singles) add_single<outputs>(sums, z, span.single(thread), cap);

  const float warp_largest = warp_max(sums.largest);
  if (lane == 0) exchange.largest[warp] = warp_largest;
  __syncthreads();
  const float largest = warp_max(exchange.largest[lane % kWarps]);

  sums.refer_to<outputs>(reference_of(largest, cap));
  const auto share = [&](double(&to)[kWarps], float value) {
    value = warp_sum(value);
    if (lane == 0) to[warp] = static_cast<double>(value);
  };
  share(exchange.exp, sums.exp);
  if constexpr (outputs == Outputs::kAll) {
    share(exchange.exp_t, sums.exp_t);
    share(exchange.square, sums.square);
    share(exchange.z, sums.z);
    if (out.argmax != nullptr) {
      // Of a row without any number above -inf it is the first.
      int found = vocab;
      if (largest == -INFINITY) {
        found = 0;
      } else if (sums.largest == largest) {
        for (int u = 0; u < kLoads && found == vocab; ++u) {
          for (int i = 0; i < kVector && found == vocab; ++i) {
            const int at = sums.at + u * kThreads * kVector + i;
            if (at < vocab && z[at] == largest) found = at;
          }
        }
      }
      found = warp_min(found);
      if (lane == 0) exchange.argmax[warp] = found;
    }
  }
  __syncthreads();

  if (warp == 0) {
    // t is in units of log2(e) as f32 has it, so that is what nats are made with.
    constexpr double kNats = 1.0 / static_cast<double>(kLog2E);
    const double exp = sum_of_warps(exchange.exp);
    const double log_sum = ::log2(exp);
    const double lse = ::fma(kNats, log_sum, static_cast<double>(sums.reference));
    if (lane == 0) {
      exchange.lse = lse;
      out.lse[row] = static_cast<float>(lse);
    }
    if constexpr (outputs == Outputs::kAll) {
      const double exp_t = sum_of_warps(exchange.exp_t);
      const double square = sum_of_warps(exchange.square);
      const double z_sum = sum_of_warps(exchange.z);
      if (lane == 0) {
        if (out.entropy != nullptr) out.entropy[row] = static_cast<float>(kNats * (log_sum - exp_t / exp));
        if (out.mean != nullptr) out.mean[row] = static_cast<float>(z_sum / vocab);
        if (out.log_sum_square != nullptr) out.log_sum_square[row] = static_cast<float>(kNats * (::log2(square) - 2 * log_sum));
      }
      if (out.argmax != nullptr) {
        const int argmax = warp_min(exchange.argmax[lane % kWarps]);
        if (lane == 0) out.argmax[row] = argmax;
      }
    }
  }
  __syncthreads();

  for (int n = prediction_begin[row] + thread; n < prediction_begin[row + 1]; n += kThreads) {
    const int target = targets[n];
    const float target_z = target >= 0 && target < vocab ? cap.z(z[target]) : NAN;
    out.log_prob[n] = static_cast<float>(static_cast<double>(target_z) - exchange.lse);
  }
}

// ---- backward ----

/** Four neighbours; whether their address allows one access, the whole block knows. */
__device__ __forceinline__ void store_four(float *p, const float (&d)[kVector], bool aligned) {
  if (aligned) {
    store_pack<Cache::kStreaming>(p, d);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) p[i] = d[i];
  }
}
__device__ __forceinline__ void store_four(bf16 *p, const float (&d)[kVector], bool aligned) {
  if (aligned) {
    __stcs(reinterpret_cast<uint2 *>(p), make_uint2(to_bf16x2(d[0], d[1]), to_bf16x2(d[2], d[3])));
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) p[i] = from_float<bf16>(d[i]);
  }
}

template <class T, class Cap>
__global__ void __launch_bounds__(kThreads, 2)
    backward_kernel(T *d_logits, const float *logits, const float *lse, const float *d_log_prob, const int32_t *prediction_begin,
                    const int32_t *targets, int vocab, int64_t d_logits_stride, int64_t logits_stride, Cap cap) {
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t row = blockIdx.x;
  const float *in = logits + row * logits_stride;
  T *out = d_logits + row * d_logits_stride;
  const Span span(in, vocab);
  const bool aligned = reinterpret_cast<uintptr_t>(out + span.head) % (kVector * sizeof(T)) == 0;

  const int first_prediction = prediction_begin[row], end_prediction = prediction_begin[row + 1];
  double total = 0;
  bool weighs = false;
  for (int n = first_prediction; n < end_prediction; ++n) {
    total += static_cast<double>(d_log_prob[n]);
    weighs = weighs || d_log_prob[n] != 0.0f;
  }
  if (!weighs) {
    const float zeros[kVector] = {};
    for (int at = span.first(0); span.has(at); at += kThreads * kVector) store_four(out + at, zeros, aligned);
    if (thread < span.singles) out[span.single(thread)] = from_float<T>(0.0f);
    return;
  }
  const float of_p = static_cast<float>(-total);
  const float row_lse = lse[row];

  const auto of_softmax = [&](float z) { return of_p * exp2_fast(kLog2E * (z - row_lse)); };

  float single = 0;
  if (thread < span.singles) {
    const int at = span.single(thread);
    const float z = cap.z(in[at]);
    single = of_softmax(z);
    for (int n = first_prediction; n < end_prediction; ++n) {
      if (targets[n] == at) single += d_log_prob[n];
    }
    single = cap.slope(single, z);
  }
  for (int turn = 0; turn < span.num_turns; ++turn) {
    const int first = span.first(turn), turn_begin = span.head + turn * kTurn;
    float z[kLoads][kVector] = {}, d[kLoads][kVector];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int at = first + u * kThreads * kVector;
      if (span.has(at)) load_pack<Cache::kStreaming>(z[u], in + at);
    }
    if constexpr (sizeof(T) < sizeof(float)) {
      if ((turn & (turn - 1)) == 0) __syncthreads();
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[u][i] = cap.z(z[u][i]);
        d[u][i] = of_softmax(z[u][i]);
      }
    }
    for (int n = first_prediction; n < end_prediction; ++n) {
      const int target = targets[n];
      if (target < turn_begin || target >= turn_begin + kTurn) continue;
#pragma unroll
      for (int u = 0; u < kLoads; ++u) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          if (target == first + u * kThreads * kVector + i) d[u][i] += d_log_prob[n];
        }
      }
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int at = first + u * kThreads * kVector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) d[u][i] = cap.slope(d[u][i], z[u][i]);
      if (span.has(at)) store_four(out + at, d[u], aligned);
    }
  }
  if constexpr (sizeof(T) < sizeof(float)) __syncthreads();
  if (thread < span.singles) out[span.single(thread)] = from_float<T>(single);
}

template <class Body>
void with_softcap(float softcap, const Body &body) {
  if (softcap > 0) {
    body(Capped{softcap, 1.0f / softcap});
  } else {
    body(Uncapped{});
  }
}

void check_shape(int64_t rows, int64_t vocab, int64_t logits_stride) {
  check_extent("rows", rows);
  check_positive("vocab", vocab);
  check_stride("logits_stride", logits_stride, vocab);
  // Positions in a row and a turn behind it are int, and a block takes a row.
  if (vocab > 1 << 30) invalid("vocab is %lld, expected at most %d", static_cast<long long>(vocab), 1 << 30);
  if (rows > INT32_MAX) invalid("rows is %lld, expected at most %d", static_cast<long long>(rows), INT32_MAX);
}

}  // namespace

int32_t logprob_forward(float *log_prob, float *lse, float *entropy, int32_t *argmax, float *mean, float *log_sum_square, const float *logits,
                        const int32_t *prediction_begin, const int32_t *targets, int64_t rows, int64_t vocab, int64_t logits_stride, float softcap,
                        void *stream) {
  return guarded("logprob_forward", stream, [&](cudaStream_t on) {
    check_shape(rows, vocab, logits_stride);
    if (rows == 0) return;
    check_pointer("log_prob", log_prob);
    check_pointer("lse", lse);
    check_pointer("logits", logits);
    check_pointer("prediction_begin", prediction_begin);
    check_pointer("targets", targets);
    const ForwardOutputs out = {log_prob, lse, entropy, argmax, mean, log_sum_square};
    const bool lse_only = entropy == nullptr && argmax == nullptr && mean == nullptr && log_sum_square == nullptr;
    with_softcap(softcap, [&]<class Cap>(const Cap cap) {
      with_bool(lse_only, [&]<class Only>(Only) {
        launch("logprob_forward", forward_kernel < Only::value ? Outputs::kLseOnly : Outputs::kAll, Cap >, static_cast<unsigned>(rows), kThreads, 0,
               on, out, logits, prediction_begin, targets, vocab, logits_stride, cap);
      });
    });
  });
}

int32_t logprob_backward(void *d_logits, const float *logits, const float *lse, const float *d_log_prob, const int32_t *prediction_begin,
                         const int32_t *targets, int64_t rows, int64_t vocab, int64_t d_logits_stride, int64_t logits_stride, float softcap,
                         int32_t dtype, void *stream) {
  return guarded("logprob_backward", stream, [&](cudaStream_t on) {
    check_shape(rows, vocab, logits_stride);
    check_stride("d_logits_stride", d_logits_stride, vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (rows == 0) return;
      check_pointer("d_logits", d_logits);
      check_pointer("logits", logits);
      check_pointer("lse", lse);
      check_pointer("d_log_prob", d_log_prob);
      check_pointer("prediction_begin", prediction_begin);
      check_pointer("targets", targets);
      if (d_logits == logits && d_logits_stride * int64_t{sizeof(T)} != logits_stride * int64_t{sizeof(float)}) {
        invalid("d_logits is logits with rows of %lld bytes, expected rows of %lld bytes, those of logits",
                static_cast<long long>(d_logits_stride * int64_t{sizeof(T)}), static_cast<long long>(logits_stride * int64_t{sizeof(float)}));
      }
      with_softcap(softcap, [&]<class Cap>(const Cap cap) {
        launch("logprob_backward", backward_kernel<T, Cap>, static_cast<unsigned>(rows), kThreads, 0, on, static_cast<T *>(d_logits), logits, lse,
               d_log_prob, prediction_begin, targets, vocab, d_logits_stride, logits_stride, cap);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
