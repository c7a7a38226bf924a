/* matmul_bf16: the panels of bf16 products with f32 sums, where the instruction set has them. FLOPs 2 m n k. Deterministic. */
#if defined(__AVX512BF16__)
#include "matmul_panels_kernel.h"

namespace gatun::GATUN_ISA {

extern const Panels bf16_panels;
const Panels bf16_panels = panels_of<Bf16Words>();

}  // namespace gatun::GATUN_ISA
#endif
