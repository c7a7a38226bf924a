/* The functions of gatun_cpu.h besides the table. */
#include <cstddef>

#include "testing.h"

namespace gatun::testing {
namespace {

TEST(the_best_table_is_one_of_the_named) {
  const gatun_kernels *best = gatun_cpu_kernels(nullptr);
  CHECK(best != nullptr, "%s", gatun_cpu_last_error());
  CHECK(best == gatun_cpu_kernels(gatun_cpu_isa()), "isa is %s", gatun_cpu_isa());
  CHECK(!tables().empty() && tables().back().name == gatun_cpu_isa(), "isa is %s", gatun_cpu_isa());
}

TEST(every_row_of_every_table_is_filled) {
  for (const Table &table : tables()) {
    CHECK(table.kernels->abi_version == GATUN_ABI_VERSION, "version %d", table.kernels->abi_version);
    void *rows[(sizeof(gatun_kernels) - offsetof(gatun_kernels, last_error)) / sizeof(void *)];
    std::memcpy(rows, reinterpret_cast<const char *>(table.kernels) + offsetof(gatun_kernels, last_error), sizeof rows);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) CHECK(rows[i] != nullptr, "%s: row %zu is NULL", table.name.c_str(), i);
  }
}

TEST(an_unknown_instruction_set_is_refused_by_name) {
  CHECK(gatun_cpu_kernels("v9") == nullptr, "v9 exists");
  CHECK(std::strstr(gatun_cpu_last_error(), "isa is \"v9\", expected") != nullptr, "text: %s", gatun_cpu_last_error());
}

TEST(threads_are_set_for_all_callers) {
  CHECK_OK(gatun_cpu_set_threads(3));
  CHECK(gatun_cpu_threads() == 3, "%d threads", gatun_cpu_threads());
  CHECK_INVALID(gatun_cpu_set_threads(0), "threads is 0, expected 1 or more");
  CHECK(gatun_cpu_threads() == 3, "%d threads", gatun_cpu_threads());
  CHECK_OK(gatun_cpu_set_threads(1));
}

TEST(the_table_tells_the_same_last_error) {
  gatun_cpu_set_threads(0);
  for (const Table &table : tables()) CHECK(std::strcmp(table.kernels->last_error(), gatun_cpu_last_error()) == 0, "%s", table.kernels->last_error());
}

TEST(workspaces_grow_with_their_extents_and_are_aligned) {
  for (const Table &table : tables()) {
    int64_t before = 0;
    for (const int64_t extent : {1, 64, 4096, 152000}) {
      const int64_t bytes = table.kernels->workspace_bytes(extent, extent);
      CHECK(bytes >= before && bytes % 64 == 0, "%lld bytes for %lld", static_cast<long long>(bytes), static_cast<long long>(extent));
      before = bytes;
    }
  }
}

}  // namespace
}  // namespace gatun::testing
