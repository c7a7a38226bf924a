/* scratch.h: memory that one thread keeps between calls. Compiled once (scratch.cpp). */
#ifndef GATUN_SCRATCH_H
#define GATUN_SCRATCH_H

#include <cstddef>

namespace gatun {

/** 64-byte aligned memory that only grows. Made for thread_local variables. */
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch();

  /** At least `bytes` bytes with undefined contents, valid until the next call; NULL if there is no memory. */
  void *reserve(size_t bytes) noexcept;

 private:
  void *data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace gatun

#endif
