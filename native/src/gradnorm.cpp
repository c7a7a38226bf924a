/*
 * gradnorm: norm = sqrt(sum gradient^2); scale = min(1, max_norm / (norm + 1e-6)), or 1 if max_norm <= 0 (torch.nn.utils.clip_grad_norm_).
 * Threads take chunks, whose number depends on the count alone; squares are summed in double and the chunks added in their order.
 * Deterministic. Traffic: one read per element.
 */
#include <cmath>

#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

typedef double doubles __attribute__((vector_size(kLanes * 8)));

double sum_of_squares(const float *x, int64_t count) {
  doubles even{}, odd{};
  int64_t i = 0;
  const auto add = [&](doubles &total, int64_t at, auto span) {
    const doubles wide = __builtin_convertvector(load(x + at, span), doubles);
    total += wide * wide;
  };
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    add(even, i, Whole{});
    add(odd, i + kLanes, Whole{});
  }
  for_vectors(count - i, [&](int64_t rest, auto span) { add(even, i + rest, span); });
  even += odd;
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += even[lane];
  return total;
}

}  // namespace

int32_t gradnorm(float *norm_and_scale, const float *gradient, int64_t count, float max_norm, void *workspace, void *) {
  return guarded("gradnorm", [&] {
    check_extent("count", count);
    check_pointer("norm_and_scale", norm_and_scale);
    double total = 0;
    if (count > 0) {
      check_pointer("gradient", gradient);
      check_pointer("workspace", workspace);
      constexpr int64_t kMostChunks = 1024, kLeastElements = 4096;
      int64_t each = (count + kMostChunks - 1) / kMostChunks;
      if (each < kLeastElements) each = kLeastElements;
      const int64_t chunks = (count + each - 1) / each;
      double *sums = static_cast<double *>(workspace);
      parallel_for(chunks, count * 4, [&](int64_t chunk) {
        const int64_t begin = chunk * each;
        sums[chunk] = sum_of_squares(gradient + begin, count - begin < each ? count - begin : each);
      });
      for (int64_t chunk = 0; chunk < chunks; ++chunk) total += sums[chunk];
    }
    const double norm = std::sqrt(total);
    const double clip = max_norm / (norm + 1e-6);
    norm_and_scale[0] = static_cast<float>(norm);
    norm_and_scale[1] = !(max_norm > 0) || clip >= 1 ? 1.0f : static_cast<float>(clip);  // a NaN norm gives a NaN scale
  });
}

}  // namespace gatun::GATUN_ISA
