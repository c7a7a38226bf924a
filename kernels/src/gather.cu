/*
 * gather: y[i] = x[rows[i]], and back: d_x = 0, then d_x[rows[i]] = d_y[i].
 * Threads: elementwise.h over the elements of y; of d_x first, to clear it. No shared memory. Deterministic: rows are distinct. Bits are
 * copied as they are. Traffic: each row of y read once and written once; d_x is written once in full besides. No FLOPs.
 */
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

/** Whether the rows that are named are those read or those written; the others follow each other. */
enum class Named { kSource, kTarget };

template <Named kNamed, class T>
struct CopyRows {
  T *to;
  const T *from;
  const int32_t *rows;
  int64_t dim;

  template <int N>
  struct Loaded {
    Raw<T, N> raw;
    int64_t to_at;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    const int64_t row = at / dim;
    const int64_t named_at = rows[row] * dim + (at - row * dim);
    if constexpr (kNamed == Named::kSource) {
      return {load_raw<N>(from + named_at), at};
    } else {
      return {load_raw<N>(from + at), named_at};
    }
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t, const Loaded<N> &loaded) const {
    store_raw<N>(to + loaded.to_at, loaded.raw);
  }
};

template <class T>
struct Clear {
  T *to;

  template <int N>
  struct Loaded {};

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t) const {
    return {};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &) const {
    store_raw<N>(to + at, Raw<T, N>{});
  }
};

}  // namespace

int32_t gather_forward(void *y, const void *x, const int32_t *rows, int64_t num_rows, int64_t dim, int32_t dtype, void *stream) {
  return guarded("gather_forward", stream, [&](cudaStream_t on) {
    check_extent("num_rows", num_rows);
    check_positive("dim", dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_rows == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("rows", rows);
      const bool whole = packs<T>(y, dim, dim) && aligned16(x);
      for_elements<kPack<T>, 4>("gather_forward", on, whole, num_rows * dim,
                                CopyRows<Named::kSource, T>{static_cast<T *>(y), static_cast<const T *>(x), rows, dim});
    });
  });
}

int32_t gather_backward(void *d_x, const void *d_y, const int32_t *rows, int64_t num_rows, int64_t tokens, int64_t dim, int32_t dtype, void *stream) {
  return guarded("gather_backward", stream, [&](cudaStream_t on) {
    check_extent("num_rows", num_rows);
    check_extent("tokens", tokens);
    check_positive("dim", dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_rows > 0) {
        check_pointer("d_y", d_y);
        check_pointer("rows", rows);
      }
      if (tokens == 0) return;
      check_pointer("d_x", d_x);
      for_elements<kPack<T>, 4>("gather_backward", on, aligned16(d_x), tokens * dim, Clear<T>{static_cast<T *>(d_x)});
      if (num_rows == 0) return;
      const bool whole = packs<T>(d_x, dim, dim) && aligned16(d_y);
      for_elements<kPack<T>, 4>("gather_backward", on, whole, num_rows * dim,
                                CopyRows<Named::kTarget, T>{static_cast<T *>(d_x), static_cast<const T *>(d_y), rows, dim});
    });
  });
}

}  // namespace gatun::GATUN_ISA
