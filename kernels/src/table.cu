#include "checks.h"
#include "reduction.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

/*
 * The largest of what the rows that take a workspace put there:
 *   rmsnorm, layernorm, bias backward   partial sums of one or two parameter gradients (reduction.h)
 *   embedding_backward                  16 bytes per token and 128 KiB of counts
 *   gradnorm                            one double per block, 7 KiB
 *   preference                          one PairState, 64 bytes, per pair
 */
int64_t workspace_bytes(int64_t rows, int64_t columns) {
  if (rows < 1) rows = 1;
  if (columns < 1) columns = 1;
  const int64_t partial_sums = 2 * partial_floats(columns) * int64_t{sizeof(float)};
  const int64_t bytes = 256 * 1024 + partial_sums + 64 * rows;
  return (bytes + 63) / 64 * 64;
}

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // rows come one by one
const gatun_kernels kernel_table = {.abi_version = GATUN_ABI_VERSION,
                                    .last_error = last_failure,
                                    .workspace_bytes = workspace_bytes,
                                    .cast = cast,
                                    .mix = mix,
                                    .residual_forward = residual_forward,
                                    .bias_backward = bias_backward,
                                    .attention_forward = attention_forward,
                                    .attention_backward = attention_backward,
                                    .swiglu_forward = swiglu_forward,
                                    .swiglu_backward = swiglu_backward,
                                    .gelu_forward = gelu_forward,
                                    .gelu_backward = gelu_backward,
                                    .gather_forward = gather_forward,
                                    .gather_backward = gather_backward,
                                    .logprob_forward = logprob_forward,
                                    .logprob_backward = logprob_backward,
                                    .preference = preference,
                                    .gradnorm = gradnorm,
                                    .adamw = adamw,
                                    .adamw_8bit = adamw_8bit,
                                    .rmsprop = rmsprop,
                                    .sgd = sgd,
                                    .split_master = split_master,
                                    .join_master = join_master};

}  // namespace gatun::GATUN_ISA
