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

#define GATUN_ROW(row) .row = row,
const gatun_kernels kernel_table = {.abi_version = GATUN_ABI_VERSION, .last_error = last_failure, GATUN_ROWS(GATUN_ROW)};
#undef GATUN_ROW

}  // namespace gatun::GATUN_ISA
