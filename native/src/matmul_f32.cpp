/* matmul_f32: the panels of f32 products, for any instruction set. FLOPs 2 m n k. Deterministic. */
#include "matmul_panels_kernel.h"

namespace gatun::GATUN_ISA {

extern const Panels f32_panels;
const Panels f32_panels = panels_of<F32Words>();

}  // namespace gatun::GATUN_ISA
