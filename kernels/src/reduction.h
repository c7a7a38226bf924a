/*
 * reduction.h: parameter gradients are summed in two steps, so that no sum depends on timing: every block (or chunk of rows) writes its own
 * row of partial sums to the workspace, whose number depends on shapes alone, and a second kernel adds the rows in their order.
 */
#ifndef GATUN_REDUCTION_H
#define GATUN_REDUCTION_H

#include "packs.h"

namespace gatun::GATUN_ISA {

/**
 * Threads of the grids whose blocks stay for many rows: 1024 for each of an A100's 108 multiprocessors. An H200 has 132, and with so many
 * reads in flight its memory is as busy. The number is not asked of the device, so that all devices add alike.
 */
constexpr int64_t kPersistentThreads = 108 * 1024;

/** Partial sums of one gradient are at most so many rows, and so many floats unless one row is longer. */
constexpr int64_t kMostPartialRows = 1024;
constexpr int64_t kMostPartialFloats = int64_t{1} << 21;

/** Rows of partial sums of `columns` floats, when `wanted` would be best. */
inline int64_t partial_rows(int64_t wanted, int64_t columns) {
  const int64_t fit = kMostPartialFloats / columns;
  const int64_t most = fit < 1 ? 1 : fit < kMostPartialRows ? fit : kMostPartialRows;
  return wanted < most ? wanted : most;
}

/** Floats that suffice for the partial sums of one gradient of at most `columns` columns. */
inline int64_t partial_floats(int64_t columns) {
  if (columns > kMostPartialFloats) return columns;
  return kMostPartialFloats < kMostPartialRows * columns ? kMostPartialFloats : kMostPartialRows * columns;
}

/** Where sums go: d[gradient][c] += sum over rows of partial[gradient][row, c]. */
template <int kGradients>
struct PartialSums {
  float *d[kGradients];
  const float *partial[kGradients];
};

/** A block adds 32 columns: warp g the rows g, g + kGroups, ..., then the warps' sums are added in their order. blockIdx.y: which gradient. */
template <int kGradients, int kGroups>
__global__ void __launch_bounds__(kWarp *kGroups) add_partial_sums_kernel(PartialSums<kGradients> sums, int64_t rows, int64_t columns) {
  GATUN_SHARED(group_sums, float[kGroups][kWarp]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  const float *partial = blockIdx.y == 0 ? sums.partial[0] : sums.partial[kGradients - 1];
  float *d = blockIdx.y == 0 ? sums.d[0] : sums.d[kGradients - 1];
  float total = 0.0f;
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = group; row < rows; row += kGroups) total += partial[row * columns + column];
  }
  group_sums[group][lane] = total;
  __syncthreads();
  if (group != 0 || column >= columns) return;
#pragma unroll
  for (int other = 1; other < kGroups; ++other) total += group_sums[other][lane];
  d[column] += total;
}

/** Adds partial sums, those of gradient i from workspace + i * rows * columns on, to d[i]. */
template <int kGradients>
void add_partial_sums(const char *name, cudaStream_t stream, float *const (&d)[kGradients], const float *workspace, int64_t rows, int64_t columns) {
  static_assert(kGradients == 1 || kGradients == 2);
  PartialSums<kGradients> sums;
  for (int i = 0; i < kGradients; ++i) {
    sums.d[i] = d[i];
    sums.partial[i] = workspace + i * rows * columns;
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp)), kGradients);
  const auto run = [&]<int kGroups>(std::integral_constant<int, kGroups>) {
    launch(name, add_partial_sums_kernel<kGradients, kGroups>, grid, kWarp * kGroups, 0, stream, sums, rows, columns);
  };
  if (rows <= 32) {
    run(std::integral_constant<int, 4>{});
  } else {
    run(std::integral_constant<int, 32>{});
  }
}

constexpr int kColumnWarps = 8;

/**
 * Sums over rows of kGradients functions of (row, column). Values has
 *   template <int N> void add(float (&sums)[kGradients][N], int64_t row, int64_t column) const
 * A block takes 32 * N columns of a chunk of rows, its warps every 8th row of it, four rows in flight. Shared memory: 8 KiB per gradient
 * at N = 8.
 */
template <int N, int kGradients, class Values>
__global__ void __launch_bounds__(kWarp *kColumnWarps)
    column_sums_kernel(Values values, float *partial, int64_t partial_stride, int64_t rows, int64_t columns, int64_t rows_each) {
  GATUN_SHARED(warp_sums, float[kGradients][kColumnWarps][kWarp * N]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t block_column = static_cast<int64_t>(blockIdx.x) * (kWarp * N), column = block_column + lane * N;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * rows_each;
  const int64_t end = begin + rows_each < rows ? begin + rows_each : rows;
  float sums[kGradients][N] = {};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + warp; row < end; row += kColumnWarps) values.template add<N>(sums, row, column);
  }
#pragma unroll
  for (int gradient = 0; gradient < kGradients; ++gradient) {
#pragma unroll
    for (int i = 0; i < N; ++i) warp_sums[gradient][warp][i * kWarp + lane] = sums[gradient][i];
  }
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < kGradients * kWarp * N; at += kWarp * kColumnWarps) {
    const int gradient = at / (kWarp * N), i = at % (kWarp * N);
    const int64_t target = block_column + i;
    if (target >= columns) continue;
    const int place = i % N * kWarp + i / N;
    float total = warp_sums[gradient][0][place];
#pragma unroll
    for (int other = 1; other < kColumnWarps; ++other) total += warp_sums[gradient][other][place];
    partial[gradient * partial_stride + blockIdx.y * columns + target] = total;
  }
}

/** d[gradient][c] += sum over rows of values, N columns per thread if `whole`, else one. workspace: kGradients * partial_floats. */
template <int N, int kGradients, class Values>
void column_sums(const char *name, cudaStream_t stream, bool whole, float *const (&d)[kGradients], const Values &values, int64_t rows,
                 int64_t columns, void *workspace) {
  const auto run = [&]<int kEach>(std::integral_constant<int, kEach>) {
    constexpr int64_t kLeastRows = 64;
    const int64_t slices = ceil_div(columns, kWarp * kEach), most_chunks = ceil_div(rows, kLeastRows);
    const int64_t wanted = ceil_div(2 * kPersistentThreads / (kWarp * kColumnWarps), slices);
    const int64_t rows_each = ceil_div(rows, partial_rows(wanted < most_chunks ? wanted : most_chunks, columns));
    const int64_t chunks = ceil_div(rows, rows_each);
    float *partial = static_cast<float *>(workspace);
    const dim3 grid(static_cast<unsigned>(slices), static_cast<unsigned>(chunks));
    launch(name, column_sums_kernel<kEach, kGradients, Values>, grid, kWarp * kColumnWarps, 0, stream, values, partial, chunks * columns, rows,
           columns, rows_each);
    add_partial_sums(name, stream, d, partial, chunks, columns);
  };
  if (whole) {
    run(std::integral_constant<int, N>{});
  } else {
    run(std::integral_constant<int, 1>{});
  }
}

}  // namespace gatun::GATUN_ISA

#endif
