#include "scratch.h"

#include <cstdlib>

namespace gatun {

Scratch::~Scratch() {
  std::free(data_);
}

void *Scratch::reserve(size_t bytes) noexcept {
  if (bytes > bytes_) {
    std::free(data_);
    const size_t rounded = (bytes + 63) / 64 * 64;
    data_ = std::aligned_alloc(64, rounded);
    bytes_ = data_ == nullptr ? 0 : rounded;
  }
  return data_;
}

}  // namespace gatun
