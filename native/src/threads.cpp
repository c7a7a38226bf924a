#include "threads.h"

#include <omp.h>

#include <atomic>

namespace gatun {
namespace {

/* omp_set_num_threads() holds for the calling thread alone; the library's setting holds for all. */
std::atomic<int> &setting() noexcept {
  static std::atomic<int> threads{omp_get_max_threads()};
  return threads;
}

}  // namespace

int pool_threads() noexcept {
  return setting().load(std::memory_order_relaxed);
}

void set_pool_threads(int threads) noexcept {
  setting().store(threads, std::memory_order_relaxed);
}

}  // namespace gatun
