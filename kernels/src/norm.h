/*
 * norm.h: rmsnorm and layernorm, which differ in the mean and the bias.
 * Elements are accessed N at a time, 16 bytes, or one by one where that is not possible. A row is shared by 8 or 32 lanes of a warp, or by a whole
 * block of 128 to 1024 threads, each of which holds 8 to 32 elements of it in registers, in their stored form, so that a row is read once. Rows too
 * long for that (above 16384 elements forward, 8192 backward; 2048 where they are accessed one by one) are read again for each pass over them, from
 * the cache. Backward, a grid of fixed size goes through all rows; a thread's columns stay the same, so it sums their parameter gradients in
 * registers, and has the next row's reads in flight while the block adds up this row's. Every block then writes one row of partial sums to the
 * workspace (for rows that are read again a pass of its own, column_sums, does), which reduction.h adds in their order.
 */
#ifndef GATUN_NORM_H
#define GATUN_NORM_H

#include "reduction.h"

namespace gatun::GATUN_ISA {

/** N elements at a time, kTurns times, by each of the kThreads threads of a row. kTurns = 0: not held in registers but read again. */
template <int N, int kThreads, int kTurns>
struct RowShape {
  static constexpr int kBlock = kThreads <= kWarp ? 256 : kThreads;
  static constexpr int kRows = kBlock / kThreads;
  static constexpr int kHeld = kTurns == 0 ? 1 : kTurns;
};

/** Calls body(turn, at) for the packs of a row that this thread has. */
template <int N, int kThreads, int kTurns, class Body>
__device__ __forceinline__ void for_packs(int64_t width, const Body &body) {
  const int lane = static_cast<int>(threadIdx.x) % kThreads;
  if constexpr (kTurns == 0) {
    for (int64_t at = lane * N; at < width; at += kThreads * N) body(0, at);
  } else {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int at = (turn * kThreads + lane) * N;
      if (at < static_cast<int>(width)) body(turn, at);
    }
  }
}

/**
 * Sums over the threads of a row, the same in each. All threads of the block call it. `turn` alternates between 0 and 1 from call to call, so
 * that one barrier is enough.
 */
template <int kThreads, int kSums>
__device__ __forceinline__ void row_sums(float (&sums)[kSums], int turn) {
  constexpr int kLanes = kThreads < kWarp ? kThreads : kWarp;
  const auto lanes_sum = [](float value) {
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
    return value;
  };
#pragma unroll
  for (int i = 0; i < kSums; ++i) sums[i] = lanes_sum(sums[i]);
  if constexpr (kThreads > kWarp) {
    constexpr int kWarps = kThreads / kWarp;
    GATUN_SHARED(warp_sums, float[2][kSums][kWarps]);
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < kSums; ++i) warp_sums[turn][i][warp] = sums[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i] = lanes_sum(lane < kWarps ? warp_sums[turn][i][lane] : 0.0f);
  }
}

template <class T>
struct NormForward {
  T *y, *sum;
  float *mean, *rstd;
  const T *x, *delta, *weight, *bias;
  int64_t rows, groups, dim, y_stride, x_stride;
  float eps, weight_offset;
};

template <bool kCentred, class T, int N, int kThreads, int kTurns>
__global__ void __launch_bounds__(RowShape<N, kThreads, kTurns>::kBlock) norm_forward_kernel(NormForward<T> f) {
  using Shape = RowShape<N, kThreads, kTurns>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * Shape::kRows + static_cast<int>(threadIdx.x) / kThreads;
  const int64_t width = row < f.rows ? f.dim : 0;  // lanes without a row stay for the sums
  const int64_t token = row / f.groups, column = (row - token * f.groups) * f.dim;
  const T *source = f.x + (token * f.x_stride + column);
  Raw<T, N> raw[Shape::kHeld];
  if (f.delta == nullptr) {
    if constexpr (kTurns > 0) for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) { raw[turn] = load_raw<N>(source + at); });
  } else {
    const T *delta = f.delta + (token * f.x_stride + column);
    T *sum = f.sum + (token * f.x_stride + column);
    Raw<T, N> other[Shape::kHeld];
    const auto load_both = [&](int turn, auto at) {
      raw[turn] = load_raw<N>(source + at);
      other[turn] = load_raw<N>(delta + at);
    };
    if constexpr (kTurns > 0) for_packs<N, kThreads, kTurns>(width, load_both);
    for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
      if constexpr (kTurns == 0) load_both(turn, at);
      float v[N], d[N];
      unpack<T, N>(v, raw[turn]);
      unpack<T, N>(d, other[turn]);
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] += d[i];
      raw[turn] = pack<T, N>(v);  // what is normalized is what the backward pass will read
      store_raw<N>(sum + at, raw[turn]);
    });
    source = sum;
  }
  const auto values = [&](float(&v)[N], int turn, auto at) {
    if constexpr (kTurns == 0) raw[turn] = load_raw<N>(source + at);
    unpack<T, N>(v, raw[turn]);
  };

  float mean = 0.0f;
  if constexpr (kCentred) {
    float total[1] = {};
    for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
      float v[N];
      values(v, turn, at);
#pragma unroll
      for (int i = 0; i < N; ++i) total[0] += v[i];
    });
    row_sums<kThreads>(total, 0);
    mean = total[0] / static_cast<float>(f.dim);
  }
  float squares[1] = {};
  for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
    float v[N];
    values(v, turn, at);
#pragma unroll
    for (int i = 0; i < N; ++i) squares[0] = fmaf(v[i] - mean, v[i] - mean, squares[0]);
  });
  row_sums<kThreads>(squares, 1);
  const float rstd = 1.0f / sqrtf(squares[0] / static_cast<float>(f.dim) + f.eps);

  T *y = f.y + (token * f.y_stride + column);
  for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
    float v[N], weight[N];
    unpack<T, N>(weight, load_raw<N>(f.weight + at));
    values(v, turn, at);
    if constexpr (kCentred) {
      float bias[N];
      unpack<T, N>(bias, load_raw<N>(f.bias + at));
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] = fmaf((v[i] - mean) * rstd, weight[i], bias[i]);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] = v[i] * rstd * (weight[i] + f.weight_offset);
    }
    store_raw<N>(y + at, pack<T, N>(v));
  });
  if (width > 0 && threadIdx.x % kThreads == 0) {
    if (kCentred && f.mean != nullptr) f.mean[row] = mean;
    if (f.rstd != nullptr) f.rstd[row] = rstd;
  }
}

template <class T>
struct NormBackward {
  T *d_x;
  float *partial;
  const T *d_y, *x, *weight;
  const float *mean, *rstd;
  const T *d_residual;
  int64_t rows, groups, dim, d_x_stride, d_y_stride, x_stride;
  float weight_offset;
};

template <bool kCentred, class T, int N, int kThreads, int kTurns>
__global__ void __launch_bounds__(RowShape<N, kThreads, kTurns>::kBlock) norm_backward_kernel(NormBackward<T> b) {
  using Shape = RowShape<N, kThreads, kTurns>;
  constexpr int kHeld = Shape::kHeld, kSums = kCentred ? 2 : 1;
  // Where registers are scarce the next row waits.
  constexpr bool kAhead = kTurns > 0 && kTurns * N * sizeof(T) <= 32;
  struct Row {
    Raw<T, N> x[kHeld], d_y[kHeld], d_residual[kHeld];
    float mean, rstd;
  };
  const int group = static_cast<int>(threadIdx.x) / kThreads;
  const int64_t step = static_cast<int64_t>(gridDim.x) * Shape::kRows;

  const auto load_pack = [&](Row &in, int64_t token, int64_t column, int turn, auto at) {
    in.x[turn] = load_raw<N>(b.x + (token * b.x_stride + column) + at);
    in.d_y[turn] = load_raw<N>(b.d_y + (token * b.d_y_stride + column) + at);
    in.d_residual[turn] = Raw<T, N>{};
    if (b.d_residual != nullptr) in.d_residual[turn] = load_raw<N>(b.d_residual + (token * b.d_x_stride + column) + at);
  };
  const auto load_row = [&](Row &in, int64_t row) {
    const int64_t width = row < b.rows ? b.dim : 0;
    in.mean = kCentred && width > 0 ? b.mean[row] : 0.0f;
    in.rstd = width > 0 ? b.rstd[row] : 0.0f;
    if constexpr (kTurns > 0) {
      const int64_t token = row / b.groups, column = (row - token * b.groups) * b.dim;
      for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) { load_pack(in, token, column, turn, at); });
    }
  };

  float d_weight[kHeld][N] = {}, d_bias[kCentred ? kHeld : 1][N] = {};
  int parity = 0;
  Row next = {};
  if constexpr (kAhead) load_row(next, static_cast<int64_t>(blockIdx.x) * Shape::kRows + group);
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * Shape::kRows; first < b.rows; first += step, parity ^= 1) {
    const int64_t row = first + group, width = row < b.rows ? b.dim : 0;
    const int64_t token = row / b.groups, column = (row - token * b.groups) * b.dim;
    Row in = next;
    if constexpr (kAhead) {
      load_row(next, row + step);
    } else {
      load_row(in, row);
    }
    const float mean = in.mean, rstd = in.rstd;
    // sums: of g * n, and of g; n = (x - mean) * rstd, g = d_y * weight.
    float sums[kSums] = {};
    for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
      if constexpr (kTurns == 0) load_pack(in, token, column, turn, at);
      float x[N], d[N], weight[N];
      unpack<T, N>(x, in.x[turn]);
      unpack<T, N>(d, in.d_y[turn]);
      unpack<T, N>(weight, load_raw<N>(b.weight + at));
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float d_n = d[i] * ((x[i] - mean) * rstd);
        if constexpr (kTurns > 0) d_weight[turn][i] += d_n;
        sums[0] = fmaf(d_n, weight[i] + b.weight_offset, sums[0]);
        if constexpr (kCentred) {
          if constexpr (kTurns > 0) d_bias[turn][i] += d[i];
          sums[1] = fmaf(d[i], weight[i], sums[1]);
        }
      }
    });
    row_sums<kThreads>(sums, parity);
    const float of_n = -rstd * (sums[0] / static_cast<float>(b.dim));
    const float of_g = kCentred ? sums[kSums - 1] / static_cast<float>(b.dim) : 0.0f;
    T *d_x = b.d_x + (token * b.d_x_stride + column);
    for_packs<N, kThreads, kTurns>(width, [&](int turn, auto at) {
      if constexpr (kTurns == 0) load_pack(in, token, column, turn, at);
      float x[N], d[N], weight[N], residual[N];
      unpack<T, N>(x, in.x[turn]);
      unpack<T, N>(d, in.d_y[turn]);
      unpack<T, N>(weight, load_raw<N>(b.weight + at));
      unpack<T, N>(residual, in.d_residual[turn]);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float g = d[i] * (weight[i] + b.weight_offset);
        d[i] = fmaf(rstd, fmaf(x[i] - mean, of_n, g - of_g), residual[i]);
      }
      store_raw<N>(d_x + at, pack<T, N>(d));
    });
  }

  if constexpr (kTurns > 0 && kThreads > kWarp) {
    float *partial = b.partial + blockIdx.x * b.dim;
    for_packs<N, kThreads, kTurns>(b.dim, [&](int turn, auto at) {
      store_floats<N>(partial + at, d_weight[turn]);
      if constexpr (kCentred) store_floats<N>(partial + gridDim.x * b.dim + at, d_bias[turn]);
    });
  } else if constexpr (kTurns > 0) {
    // The rows of a block are added first, in their order.
    constexpr int kWidth = kThreads * kTurns * N;
    GATUN_SHARED(row_partial, float[kSums][Shape::kRows][kWidth]);
    for_packs<N, kThreads, kTurns>(b.dim, [&](int turn, auto at) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        row_partial[0][group][at + i] = d_weight[turn][i];
        if constexpr (kCentred) row_partial[1][group][at + i] = d_bias[turn][i];
      }
    });
    __syncthreads();
    for (int at = static_cast<int>(threadIdx.x); at < static_cast<int>(b.dim); at += Shape::kBlock) {
#pragma unroll
      for (int sum = 0; sum < kSums; ++sum) {
        float total = row_partial[sum][0][at];
        for (int other = 1; other < Shape::kRows; ++other) total += row_partial[sum][other][at];
        b.partial[(sum * static_cast<int64_t>(gridDim.x) + blockIdx.x) * b.dim + at] = total;
      }
    }
  }
}

/** The parameter gradients of rows that are not held: sums over rows of d_y * n and of d_y. */
template <bool kCentred, class T>
struct NormGradients {
  NormBackward<T> b;

  template <int N>
  __device__ __forceinline__ void add(float (&sums)[kCentred ? 2 : 1][N], int64_t row, int64_t at) const {
    const int64_t token = row / b.groups, column = (row - token * b.groups) * b.dim + at;
    float x[N], d[N];
    unpack<T, N>(x, load_raw<N>(b.x + (token * b.x_stride + column)));
    unpack<T, N>(d, load_raw<N>(b.d_y + (token * b.d_y_stride + column)));
    const float mean = kCentred ? b.mean[row] : 0.0f, rstd = b.rstd[row];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sums[0][i] += d[i] * ((x[i] - mean) * rstd);
      if constexpr (kCentred) sums[1][i] += d[i];
    }
  }
};

template <bool kCentred, class T>
void norm_forward(const char *name, cudaStream_t stream, const NormForward<T> &f) {
  const auto run = [&]<int N, int kThreads, int kTurns>(RowShape<N, kThreads, kTurns>) {
    using Shape = RowShape<N, kThreads, kTurns>;
    launch(name, norm_forward_kernel<kCentred, T, N, kThreads, kTurns>, static_cast<unsigned>(ceil_div(f.rows, Shape::kRows)), Shape::kBlock, 0,
           stream, f);
  };
  constexpr int N = kPack<T>;
  if (packs<T>(f.y, f.dim, f.y_stride) && packs<T>(f.x, f.dim, f.x_stride) && aligned16(f.sum) && aligned16(f.delta) && aligned16(f.weight) &&
      aligned16(f.bias)) {
    if (f.dim <= 64) return run(RowShape<N, 8, 8 / N>{});
    if (f.dim <= 256) return run(RowShape<N, 32, 8 / N>{});
    if (f.dim <= 1024) return run(RowShape<N, 32, 32 / N>{});
    if (f.dim <= 2048) return run(RowShape<N, 128, 16 / N>{});
    if (f.dim <= 4096) return run(RowShape<N, 256, 16 / N>{});
    if (f.dim <= 8192) return run(RowShape<N, 512, 16 / N>{});
    if (f.dim <= 16384) return run(RowShape<N, 1024, 16 / N>{});
    run(RowShape<N, 1024, 0>{});
  } else {
    if (f.dim <= 128) return run(RowShape<1, 32, 4>{});
    if (f.dim <= 2048) return run(RowShape<1, 256, 8>{});
    run(RowShape<1, 1024, 0>{});
  }
}

/** d_x, and d[0] += d_weight, d[1] += d_bias. */
template <bool kCentred, class T>
void norm_backward(const char *name, cudaStream_t stream, float *const (&d)[kCentred ? 2 : 1], const NormBackward<T> &b) {
  constexpr int N = kPack<T>;
  const bool whole = packs<T>(b.d_x, b.dim, b.d_x_stride) && packs<T>(b.d_y, b.dim, b.d_y_stride) && packs<T>(b.x, b.dim, b.x_stride) &&
                     aligned16(b.weight) && aligned16(b.d_residual);
  const auto run = [&]<int kEach, int kThreads, int kTurns>(RowShape<kEach, kThreads, kTurns>) {
    using Shape = RowShape<kEach, kThreads, kTurns>;
    int64_t blocks = ceil_div(b.rows, Shape::kRows);
    if (blocks > kPersistentThreads / Shape::kBlock) blocks = kPersistentThreads / Shape::kBlock;
    // d_x may be d_y: whoever reads d_y comes first.
    if constexpr (kTurns == 0) column_sums<N>(name, stream, whole, d, NormGradients<kCentred, T>{b}, b.rows, b.dim, b.partial);
    launch(name, norm_backward_kernel<kCentred, T, kEach, kThreads, kTurns>, static_cast<unsigned>(blocks), Shape::kBlock, 0, stream, b);
    if constexpr (kTurns > 0) add_partial_sums(name, stream, d, b.partial, blocks, b.dim);
  };
  if (whole) {
    if (b.dim <= 64) return run(RowShape<N, 8, 8 / N>{});
    if (b.dim <= 256) return run(RowShape<N, 32, 8 / N>{});
    if (b.dim <= 1024) return run(RowShape<N, 128, 8 / N>{});
    if (b.dim <= 2048) return run(RowShape<N, 256, 8 / N>{});
    if (b.dim <= 4096) return run(RowShape<N, 512, 8 / N>{});
    if (b.dim <= 8192) return run(RowShape<N, 512, 16 / N>{});
    run(RowShape<N, 256, 0>{});
  } else {
    if (b.dim <= 256) return run(RowShape<1, 32, 8>{});
    if (b.dim <= 2048) return run(RowShape<1, 256, 8>{});
    run(RowShape<1, 256, 0>{});
  }
}

}  // namespace gatun::GATUN_ISA

#endif
