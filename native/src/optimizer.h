/* optimizer.h: what adamw, rmsprop and sgd share: the walk over weights with and without decay. */
#ifndef GATUN_OPTIMIZER_H
#define GATUN_OPTIMIZER_H

#include "master.h"
#include "parallel.h"

namespace gatun::GATUN_ISA {

/**
 * Calls update(i, span, decay) for vectors that cover [0, count), with decay = weight_decay below decay_count and 0 from there on.
 * Threads take ranges; every element stands alone.
 */
template <class Update>
void for_weights(int64_t count, int64_t decay_count, float weight_decay, int64_t bytes_per_element, const Update &update) {
  parallel_ranges(count, bytes_per_element, [&](int64_t begin, int64_t end) {
    const int64_t border = decay_count < begin ? begin : decay_count > end ? end : decay_count;
    for_vectors(border - begin, [&](int64_t i, auto span) { update(begin + i, span, weight_decay); });
    for_vectors(end - border, [&](int64_t i, auto span) { update(border + i, span, 0.0f); });
  });
}

}  // namespace gatun::GATUN_ISA

#endif
