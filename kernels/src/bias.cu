/*
 * bias: d_bias[c] += sum over rows of d_y[r, c].
 * Threads and shared memory: column_sums of reduction.h; the sums of chunks of rows, whose number depends on the shape alone, are added in
 * their order. Deterministic. Traffic: one read per element; 1 FLOP.
 */
#include "guard.h"
#include "reduction.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct Rows {
  const T *d_y;
  int64_t stride;

  template <int N>
  __device__ __forceinline__ void add(float (&sums)[1][N], int64_t row, int64_t column) const {
    float d[N];
    unpack<T, N>(d, load_raw<N>(d_y + row * stride + column));
#pragma unroll
    for (int i = 0; i < N; ++i) sums[0][i] += d[i];
  }
};

}  // namespace

int32_t bias_backward(float *d_bias, const void *d_y, int64_t rows, int64_t columns, int64_t d_y_stride, int32_t dtype, void *workspace,
                      void *stream) {
  return guarded("bias_backward", stream, [&](cudaStream_t on) {
    check_extent("rows", rows);
    check_positive("columns", columns);
    check_stride("d_y_stride", d_y_stride, columns);
    with_dtype(dtype, [&]<class T>(T) {
      if (rows == 0) return;
      check_pointer("d_bias", d_bias);
      check_pointer("d_y", d_y);
      check_pointer("workspace", workspace);
      float *const d[1] = {d_bias};
      column_sums<kPack<T>>("bias_backward", on, packs<T>(d_y, columns, d_y_stride), d, Rows<T>{static_cast<const T *>(d_y), d_y_stride}, rows,
                            columns, workspace);
    });
  });
}

}  // namespace gatun::GATUN_ISA
