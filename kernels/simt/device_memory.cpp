#include "device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>

#include "errors.h"
#include "handles.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace gatun::doubles {
namespace {

/** Freed blocks are kept this long, as a sum of their bytes, so that stale pointers are known for what they are. */
constexpr size_t kQuarantineBytes = size_t{256} << 20;

/** cudaMalloc aligns to this. */
constexpr size_t kAlignment = 256;

/** The block that p lies in. */
Blocks::const_iterator block_of(const Blocks &blocks, const void *p) {
  auto after = blocks.upper_bound(address(p));
  if (after == blocks.begin()) return blocks.end();
  --after;
  return address(p) - after->first < std::max<size_t>(after->second, 1) ? after : blocks.end();
}

/** Whether any block has a byte in [p, p + bytes). */
bool overlaps_any(const Blocks &blocks, const void *p, size_t bytes) {
  if (block_of(blocks, p) != blocks.end()) return true;
  const auto after = blocks.upper_bound(address(p));
  return after != blocks.end() && after->first - address(p) < bytes;
}

bool inside_one(const Blocks &blocks, const void *p, size_t bytes) {
  const auto block = block_of(blocks, p);
  return block != blocks.end() && bytes <= block->second - (address(p) - block->first);
}

void *allocate_poisoned(size_t bytes) {
  // Not rounded up: with AddressSanitizer, a kernel that leaves its block is caught at the first byte.
  void *block = nullptr;
  if (posix_memalign(&block, kAlignment, bytes) != 0) throw std::bad_alloc();
  std::memset(block, 0xff, bytes);
  return block;
}

}  // namespace

size_t Memory::free() const {
  const std::shared_lock lock(mutex_);
  return total_ - used_;
}

void *Memory::allocate(size_t bytes) {
  const std::unique_lock lock(mutex_);
  if (bytes > total_ - used_) {
    throw Refusal{cudaErrorMemoryAllocation, text(bytes, " bytes asked for, ", total_ - used_, " of the device's ", total_, " are free")};
  }
  void *block = allocate_poisoned(bytes);
  used_ += bytes;
  live_.emplace(address(block), bytes);
  return block;
}

void Memory::release(void *p) {
  const std::unique_lock lock(mutex_);
  const auto block = live_.find(address(p));
  if (block == live_.end()) throw Refusal{cudaErrorInvalidValue, text(p, " is not what cudaMalloc returned: it ", describe_locked(p, 1))};
  const size_t bytes = block->second;
  live_.erase(block);
  used_ -= bytes;
  std::memset(p, 0xff, bytes);
#ifdef __SANITIZE_ADDRESS__
  ASAN_POISON_MEMORY_REGION(p, bytes);
#endif
  freed_.emplace(address(p), bytes);
  quarantine_.push_back(p);
  quarantined_ += bytes;
  while (quarantined_ > kQuarantineBytes) discard_oldest();
}

std::shared_ptr<void> Memory::reserve(size_t bytes) {
  const std::unique_lock lock(mutex_);
  if (bytes > total_ - used_) {
    throw Refusal{cudaErrorMemoryAllocation, text(bytes, " bytes needed, ", total_ - used_, " of the device's ", total_, " are free")};
  }
  used_ += bytes;
  return {this, [bytes](void *memory) { static_cast<Memory *>(memory)->give_back(bytes); }};
}

void *Memory::allocate_pinned(size_t bytes) {
  const std::unique_lock lock(mutex_);
  void *block = allocate_poisoned(bytes);
  pinned_.emplace(address(block), bytes);
  return block;
}

void Memory::release_pinned(void *p) {
  const std::unique_lock lock(mutex_);
  const auto block = pinned_.find(address(p));
  if (block == pinned_.end()) throw Refusal{cudaErrorInvalidValue, text(p, " is not what cudaHostAlloc returned: it ", describe_locked(p, 1))};
  std::memset(p, 0xff, block->second);
  pinned_.erase(block);
  std::free(p);
}

Place Memory::place(const void *p, size_t bytes) const {
  const std::shared_lock lock(mutex_);
  if (inside_one(live_, p, bytes)) return Place::kDevice;
  if (inside_one(pinned_, p, bytes)) return Place::kPinned;
  for (const Blocks *blocks : {&live_, &pinned_, &freed_}) {
    if (overlaps_any(*blocks, p, bytes)) return Place::kNone;
  }
  return p == nullptr ? Place::kNone : Place::kPageable;
}

std::string Memory::describe(const void *p, size_t bytes) const {
  const std::shared_lock lock(mutex_);
  return describe_locked(p, bytes);
}

void Memory::clear() {
  const std::unique_lock lock(mutex_);
  while (!quarantine_.empty()) discard_oldest();
  for (const Blocks *blocks : {&live_, &pinned_}) {
    for (const auto &[begin, bytes] : *blocks) std::free(reinterpret_cast<void *>(begin));
  }
  live_.clear();
  pinned_.clear();
  used_ = 0;
}

void Memory::give_back(size_t bytes) {
  const std::unique_lock lock(mutex_);
  used_ -= std::min(bytes, used_);  // after a reset nothing is used
}

void Memory::discard_oldest() {
  void *p = quarantine_.front();
  quarantine_.pop_front();
  const auto block = freed_.find(address(p));
  quarantined_ -= block->second;
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(p, block->second);
#endif
  freed_.erase(block);
  std::free(p);
}

std::string Memory::describe_locked(const void *p, size_t bytes) const {
  if (p == nullptr) return "is NULL";
  const std::pair<const Blocks *, const char *> kinds[] = {{&live_, "device memory"}, {&pinned_, "pinned memory"}, {&freed_, "freed device memory"}};
  for (const auto &[blocks, name] : kinds) {
    const auto block = block_of(*blocks, p);
    if (block == blocks->end()) continue;
    const size_t offset = address(p) - block->first;
    const std::string where = text("starts ", offset, " bytes into a block of ", block->second, " bytes of ", name);
    const size_t rest = block->second - offset;
    return bytes <= rest ? where : text(where, " and leaves it by ", bytes - rest, " bytes");
  }
  for (const auto &[blocks, name] : kinds) {
    if (overlaps_any(*blocks, p, bytes)) return text("starts before a block of ", name);
    const auto after = blocks->upper_bound(address(p));
    if (after == blocks->begin()) continue;
    const auto &[begin, size] = *std::prev(after);
    const size_t beyond = address(p) - begin - size;
    if (beyond < 4096) return text("is in no block (it starts ", beyond, " bytes beyond the end of one of ", size, " bytes of ", name, ")");
  }
  return "is in no block";
}

}  // namespace gatun::doubles
