/*
 * gather: y[i] = x[rows[i]], and back: d_x = 0, then d_x[rows[i]] = d_y[i].
 * Threads take rows of y; of d_x first. Deterministic: rows are distinct. Traffic: each row of y read once and written once; d_x is
 * written once in full besides.
 */
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t gather_forward(void *y, const void *x, const int32_t *rows, int64_t num_rows, int64_t dim, int32_t dtype, void *) {
  return guarded("gather_forward", [&] {
    check_extent("num_rows", num_rows);
    check_positive("dim", dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_rows == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("rows", rows);
      check_indices("rows", rows, num_rows, int64_t{1} << 31);
      parallel_for(num_rows, num_rows * dim * 2 * int64_t{sizeof(T)},
                   [&](int64_t i) { std::memcpy(static_cast<T *>(y) + i * dim, static_cast<const T *>(x) + rows[i] * dim, dim * sizeof(T)); });
    });
  });
}

int32_t gather_backward(void *d_x, const void *d_y, const int32_t *rows, int64_t num_rows, int64_t tokens, int64_t dim, int32_t dtype, void *) {
  return guarded("gather_backward", [&] {
    check_extent("num_rows", num_rows);
    check_extent("tokens", tokens);
    check_positive("dim", dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_rows > 0) {
        check_pointer("d_y", d_y);
        check_pointer("rows", rows);
        check_indices("rows", rows, num_rows, tokens);
      }
      if (tokens == 0) return;
      check_pointer("d_x", d_x);
      parallel_for(tokens, tokens * dim * int64_t{sizeof(T)},
                   [&](int64_t token) { std::memset(static_cast<T *>(d_x) + token * dim, 0, dim * sizeof(T)); });
      parallel_for(num_rows, num_rows * dim * 2 * int64_t{sizeof(T)},
                   [&](int64_t i) { std::memcpy(static_cast<T *>(d_x) + rows[i] * dim, static_cast<const T *>(d_y) + i * dim, dim * sizeof(T)); });
    });
  });
}

}  // namespace gatun::GATUN_ISA
