/*
 * cast: dst[i] = src[i] for any pair of f32, bf16 and f16, rounded to nearest, ties to even; NaN stays NaN, made quiet.
 * Threads: elementwise.h; of two types of different size 4 elements at a time, so that neighbours touch neighbouring bytes of both arrays.
 * No shared memory. Deterministic. Traffic: one read and one write per element.
 */
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

template <>
__device__ __forceinline__ float widen_half<f16>(uint32_t word, int half) {
  const uint32_t bits = half == 0 ? word & 0xffffu : word >> 16;
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<uint16_t>(bits)));
  return value;
#else
  const uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude > 0x7c00u) return __uint_as_float(sign | magnitude << 13 | 0x7fc00000u);
  if (magnitude == 0x7c00u) return __uint_as_float(sign | 0x7f800000u);
  // Shifted into place the exponent is 112 too small: a product with 2^112 is exact, for denormals too.
  return __uint_as_float(sign | __float_as_uint(__uint_as_float(magnitude << 13) * 0x1p112f));
#endif
}

template <>
__device__ __forceinline__ uint32_t narrow_halves<f16>(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  const auto round = [](float value) {
    const uint32_t bits = __float_as_uint(value);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;          // as the instruction: one NaN
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520, which rounds to 65536
    if (magnitude < 0x38800000u) {                        // below 2^-14: adding 1/2 leaves units of 2^-24, rounded by the addition
      return sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - __float_as_uint(0.5f));
    }
    return sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  };
  return round(low) | round(high) << 16;
#endif
}

namespace {

template <class To, class From>
struct Cast {
  To *dst;
  const From *src;

  template <int N>
  struct Loaded {
    Raw<From, N> x;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {load_raw<N>(src + at)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    if constexpr (std::is_same_v<To, From>) {
      store_raw<N>(dst + at, loaded.x);
    } else {
      float v[N];
      unpack<From, N>(v, loaded.x);
      store_raw<N>(dst + at, pack<To, N>(v));
    }
  }
};

template <class Body>
void with_storage(const char *name, int32_t dtype, const Body &body) {
  switch (dtype) {
    case GATUN_F32:
      body(float{});
      return;
    case GATUN_BF16:
      body(exact_bf16{});
      return;
    case GATUN_F16:
      body(f16{});
      return;
    default:
      invalid_dtype(name, dtype, "0 (f32), 1 (bf16) or 2 (f16)");
  }
}

}  // namespace

int32_t cast(void *dst, const void *src, int64_t count, int32_t dst_dtype, int32_t src_dtype, void *stream) {
  return guarded("cast", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_storage("dst_dtype", dst_dtype, [&]<class To>(To) {
      with_storage("src_dtype", src_dtype, [&]<class From>(From) {
        if (count == 0) return;
        check_pointer("dst", dst);
        check_pointer("src", src);
        if (dst == src) {
          if (dst_dtype != src_dtype) invalid("dst is src with another dtype, expected two places: elements have different sizes");
          return;
        }
        To *to = static_cast<To *>(dst);
        const From *from = static_cast<const From *>(src);
        constexpr int kEach = sizeof(To) == sizeof(From) ? kPack<To> : 4;
        for_elements<kEach, 4>("cast", on, aligned<kEach>(to) && aligned<kEach>(from), count, Cast<To, From>{to, from});
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
