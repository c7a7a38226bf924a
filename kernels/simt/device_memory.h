/*
 * device_memory.h: memory of the emulated device, and pinned memory: host memory, filled with 0xff (NaN in every float type) when it is
 * allocated and when it is freed.
 */
#ifndef GATUN_SIMT_DEVICE_MEMORY_H
#define GATUN_SIMT_DEVICE_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>

namespace gatun::doubles {

/** Blocks by their first address. */
using Blocks = std::map<uintptr_t, size_t>;

inline uintptr_t address(const void *p) {
  return reinterpret_cast<uintptr_t>(p);
}

enum class Place { kDevice, kPinned, kPageable, kNone };

/** Allocations. Safe for use by several threads. */
class Memory {
 public:
  explicit Memory(size_t total) : total_(total) {}

  size_t total() const { return total_; }
  size_t free() const;

  /** Refused where so much is not left. */
  void *allocate(size_t bytes);

  /** Refused for what allocate() did not return. */
  void release(void *p);

  /** Takes memory of the device that nobody sees; it is given back with the last copy of the result. */
  std::shared_ptr<void> reserve(size_t bytes);

  void *allocate_pinned(size_t bytes);
  void release_pinned(void *p);

  /** What all of [p, p + bytes) is; kNone where it is none of them as a whole. */
  Place place(const void *p, size_t bytes) const;

  /** For messages: what memory [p, p + bytes) is, and if it leaves its block, by how much. */
  std::string describe(const void *p, size_t bytes) const;

  /** As new. */
  void clear();

 private:
  void give_back(size_t bytes);
  void discard_oldest();
  std::string describe_locked(const void *p, size_t bytes) const;

  mutable std::shared_mutex mutex_;
  const size_t total_;
  size_t used_ = 0;
  Blocks live_;
  Blocks pinned_;
  Blocks freed_;
  std::deque<void *> quarantine_;
  size_t quarantined_ = 0;
};

}  // namespace gatun::doubles

#endif
