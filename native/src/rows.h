/*
 * rows.h: every row of struct gatun_kernels that is compiled per instruction set, as a function with the type the struct gives it.
 */
#ifndef GATUN_ROWS_H
#define GATUN_ROWS_H

#include <type_traits>

#include "gatun_kernels.h"

// clang-format off
#define GATUN_ROWS(ROW) \
  ROW(workspace_bytes) ROW(cast) ROW(mix) \
  ROW(embedding_forward) ROW(embedding_backward) \
  ROW(rmsnorm_forward) ROW(rmsnorm_backward) ROW(layernorm_forward) ROW(layernorm_backward) \
  ROW(residual_forward) ROW(bias_backward) \
  ROW(rope_forward) ROW(rope_backward) ROW(attention_forward) ROW(attention_backward) \
  ROW(swiglu_forward) ROW(swiglu_backward) ROW(gelu_forward) ROW(gelu_backward) \
  ROW(gather_forward) ROW(gather_backward) ROW(logprob_forward) ROW(logprob_backward) \
  ROW(preference) ROW(gradnorm) ROW(adamw) ROW(adamw_8bit) ROW(rmsprop) ROW(sgd) ROW(split_master) ROW(join_master)
// clang-format on

namespace gatun::GATUN_ISA {

#define GATUN_DECLARE(row) std::remove_pointer_t<decltype(gatun_kernels::row)> row;
GATUN_ROWS(GATUN_DECLARE)
#undef GATUN_DECLARE

/** This instruction set's table. */
extern const gatun_kernels kernel_table;

}  // namespace gatun::GATUN_ISA

#endif
