/* threads.h: how many threads the library's one OpenMP pool has. */
#ifndef GATUN_THREADS_H
#define GATUN_THREADS_H

namespace gatun {

/** Threads of every parallel region of the library, whichever thread calls it. At least 1. */
int pool_threads() noexcept;
void set_pool_threads(int threads) noexcept;

}  // namespace gatun

#endif
