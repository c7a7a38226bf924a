#include "checks.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

/*
 * The largest of what the rows that take a workspace put there:
 *   rmsnorm, layernorm, bias backward   partial sums of one or two parameter gradients (Chunks)
 *   gradnorm                            one double per chunk
 *   attention                           eight bytes per segment
 *   preference                          one PairState, 64 bytes, per pair
 */
int64_t workspace_bytes(int64_t rows, int64_t columns) {
  const int64_t partial_sums = 2 * Chunks::floats_needed(columns < 1 ? 1 : columns) * int64_t{sizeof(float)};
  const int64_t per_row = 64 * (rows < 1 ? 1 : rows);
  const int64_t bytes = 64 * 1024 + partial_sums + per_row;
  return (bytes + 63) / 64 * 64;
}

#define GATUN_ROW(row) .row = row,
const gatun_kernels kernel_table = {.abi_version = GATUN_ABI_VERSION, .last_error = last_failure, GATUN_ROWS(GATUN_ROW)};
#undef GATUN_ROW

}  // namespace gatun::GATUN_ISA
