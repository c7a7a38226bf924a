/*
 * split_master and join_master: between f32 values and the stored weights of master.h. With remainders the two are exact inverses on
 * every bit pattern.
 * Threads take ranges of elements. Deterministic. Traffic per element: 4 bytes one way, 2 or 4 the other.
 */
#include "master.h"

#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t split_master(void *weight, uint16_t *remainder, const float *source, int64_t count, int32_t dtype, void *) {
  return guarded("split_master", [&] {
    check_extent("count", count);
    with_weights(weight, remainder, dtype, [&](const auto weights) {
      if (count == 0) return;
      check_pointer("weight", weight);
      check_pointer("source", source);
      parallel_ranges(count, 4 + weights.kBytes, [&](int64_t begin, int64_t end) {
        for_vectors(end - begin, [&](int64_t i, auto span) { weights.write(begin + i, load(source + begin + i, span), span); });
      });
    });
  });
}

int32_t join_master(float *destination, const void *weight, const uint16_t *remainder, int64_t count, int32_t dtype, void *) {
  return guarded("join_master", [&] {
    check_extent("count", count);
    // The weights are only read; with_weights has one form for readers and writers.
    with_weights(const_cast<void *>(weight), const_cast<uint16_t *>(remainder), dtype, [&](const auto weights) {
      if (count == 0) return;
      check_pointer("destination", destination);
      check_pointer("weight", weight);
      parallel_ranges(count, 4 + weights.kBytes, [&](int64_t begin, int64_t end) {
        for_vectors(end - begin, [&](int64_t i, auto span) { store(destination + begin + i, weights.read(begin + i, span), span); });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
