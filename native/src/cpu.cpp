/* cpu.cpp: which instruction sets this CPU has, and the library's functions besides the table. */
#include <cstring>

#include "gatun_cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "checks.h"
#include "threads.h"

#define GATUN_EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__x86_64__)
namespace gatun::v2 {
extern const gatun_kernels kernel_table;
}
namespace gatun::v3 {
extern const gatun_kernels kernel_table;
}
namespace gatun::v4 {
extern const gatun_kernels kernel_table;
}
namespace gatun::v4_bf16 {
extern const gatun_kernels kernel_table;
}
#else
namespace gatun::generic {
extern const gatun_kernels kernel_table;
}
#endif

namespace gatun {
namespace {

struct Level {
  const char *name;
  const gatun_kernels *table;
  bool (*present)();
};

#if defined(__x86_64__)

struct Registers {
  unsigned eax, ebx, ecx, edx;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r{};
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

/* Intel SDM volume 2, CPUID: the bits that each x86-64 level (System V psABI, section 3.1.1) names. */
constexpr unsigned kLeaf1Sse3 = 1u << 0, kLeaf1Ssse3 = 1u << 9, kLeaf1Fma = 1u << 12, kLeaf1Cmpxchg16b = 1u << 13, kLeaf1Sse41 = 1u << 19,
                   kLeaf1Sse42 = 1u << 20, kLeaf1Movbe = 1u << 22, kLeaf1Popcnt = 1u << 23, kLeaf1Osxsave = 1u << 27, kLeaf1Avx = 1u << 28,
                   kLeaf1F16c = 1u << 29;
constexpr unsigned kLeaf7Bmi1 = 1u << 3, kLeaf7Avx2 = 1u << 5, kLeaf7Bmi2 = 1u << 8, kLeaf7Avx512F = 1u << 16, kLeaf7Avx512Dq = 1u << 17,
                   kLeaf7Avx512Cd = 1u << 28, kLeaf7Avx512Bw = 1u << 30, kLeaf7Avx512Vl = 1u << 31;
constexpr unsigned kLeaf7Sub1EaxAvx512Bf16 = 1u << 5;
constexpr unsigned kExtendedLahf = 1u << 0, kExtendedLzcnt = 1u << 5;
/* XCR0: state the operating system saves. */
constexpr unsigned kXcr0Ymm = 0x6, kXcr0Zmm = 0xe6;

bool has(unsigned bits, unsigned wanted) {
  return (bits & wanted) == wanted;
}

/* XGETBV exists only where OSXSAVE is set. */
unsigned saved_state() {
  if (!has(cpuid(1, 0).ecx, kLeaf1Osxsave)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has_v2() {
  return has(cpuid(1, 0).ecx, kLeaf1Sse3 | kLeaf1Ssse3 | kLeaf1Cmpxchg16b | kLeaf1Sse41 | kLeaf1Sse42 | kLeaf1Popcnt) &&
         has(cpuid(0x80000001, 0).ecx, kExtendedLahf);
}
bool has_v3() {
  return has_v2() && has(cpuid(1, 0).ecx, kLeaf1Fma | kLeaf1Movbe | kLeaf1Avx | kLeaf1F16c) &&
         has(cpuid(7, 0).ebx, kLeaf7Bmi1 | kLeaf7Avx2 | kLeaf7Bmi2) && has(cpuid(0x80000001, 0).ecx, kExtendedLzcnt) && has(saved_state(), kXcr0Ymm);
}
bool has_v4() {
  return has_v3() && has(cpuid(7, 0).ebx, kLeaf7Avx512F | kLeaf7Avx512Dq | kLeaf7Avx512Cd | kLeaf7Avx512Bw | kLeaf7Avx512Vl) &&
         has(saved_state(), kXcr0Zmm);
}
bool has_v4_bf16() {
  return has_v4() && has(cpuid(7, 1).eax, kLeaf7Sub1EaxAvx512Bf16);
}

/* Best first. */
constexpr Level kLevels[] = {
    {"v4-bf16", &v4_bf16::kernel_table, has_v4_bf16},
    {"v4", &v4::kernel_table, has_v4},
    {"v3", &v3::kernel_table, has_v3},
    {"v2", &v2::kernel_table, has_v2},
};
constexpr const char *kLevelNames = "v2, v3, v4 or v4-bf16";

#else

constexpr Level kLevels[] = {{"generic", &generic::kernel_table, [] { return true; }}};
constexpr const char *kLevelNames = "generic";

#endif

const Level *best_level() {
  for (const Level &level : kLevels) {
    if (level.present()) return &level;
  }
  return nullptr;
}

const gatun_kernels *find_table(const char *isa) {
  if (isa == nullptr) {
    const Level *best = best_level();
    if (best == nullptr) unsupported("this CPU has none of the instruction sets %s", kLevelNames);
    return best->table;
  }
  for (const Level &level : kLevels) {
    if (std::strcmp(level.name, isa) != 0) continue;
    if (!level.present()) unsupported("isa is \"%s\", which this CPU or its operating system lacks; NULL picks the best", isa);
    return level.table;
  }
  invalid("isa is \"%s\", expected %s, or NULL for the best", isa, kLevelNames);
}

}  // namespace
}  // namespace gatun

GATUN_EXPORT const gatun_kernels *gatun_cpu_kernels(const char *isa) {
  try {
    return gatun::find_table(isa);
  } catch (...) {
    gatun::remember_failure("gatun_cpu_kernels");
    return nullptr;
  }
}

GATUN_EXPORT const char *gatun_cpu_isa(void) {
  const gatun::Level *best = gatun::best_level();
  return best == nullptr ? "" : best->name;
}

GATUN_EXPORT const char *gatun_cpu_last_error(void) {
  return gatun::last_failure();
}

GATUN_EXPORT int32_t gatun_cpu_set_threads(int32_t threads) {
  try {
    gatun::check_positive("threads", threads);
    gatun::set_pool_threads(threads);
    return GATUN_OK;
  } catch (...) {
    return gatun::remember_failure("gatun_cpu_set_threads");
  }
}

GATUN_EXPORT int32_t gatun_cpu_threads(void) {
  return gatun::pool_threads();
}
