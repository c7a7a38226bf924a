#include "checks.h"
#include "device.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // rows come one by one
const gatun_kernels kernel_table = {.abi_version = GATUN_ABI_VERSION, .last_error = last_failure, .residual_forward = residual_forward};

}  // namespace gatun::GATUN_ISA
