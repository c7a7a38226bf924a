/*
 * handles.h: the handles that the emulated GPU gives out. They are not addresses: each is a number that is used once, which says what it
 * was made for, so that a handle of the wrong kind and a handle that was destroyed are both told from a live one. Dereferencing one
 * faults.
 */
#ifndef GATUN_SIMT_HANDLES_H
#define GATUN_SIMT_HANDLES_H

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

namespace gatun::doubles {

/** Its arguments, printed one after the other. */
template <class... Parts>
std::string text(const Parts &...parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

enum class Kind : uint64_t { kStream = 1, kEvent, kGraph, kGraphExec, kLtHandle, kMatmulDesc, kMatrixLayout, kMatmulPreference };

inline const char *name_of(Kind kind) {
  switch (kind) {
    case Kind::kStream:
      return "cudaStream_t";
    case Kind::kEvent:
      return "cudaEvent_t";
    case Kind::kGraph:
      return "cudaGraph_t";
    case Kind::kGraphExec:
      return "cudaGraphExec_t";
    case Kind::kLtHandle:
      return "cublasLtHandle_t";
    case Kind::kMatmulDesc:
      return "cublasLtMatmulDesc_t";
    case Kind::kMatrixLayout:
      return "cublasLtMatrixLayout_t";
    case Kind::kMatmulPreference:
      return "cublasLtMatmulPreference_t";
  }
  return nullptr;
}

/** Live objects by handle. Bits 56..63 of a handle are 7 (no user address has them set), 48..55 its kind, 4..47 its serial number. */
template <class Object, Kind kind>
class Handles {
 public:
  void *add(std::shared_ptr<Object> object) {
    const std::lock_guard lock(mutex_);
    const uint64_t handle = kMark << 56 | static_cast<uint64_t>(kind) << 48 | ++issued_ << 4;
    live_.emplace(handle, std::move(object));
    return reinterpret_cast<void *>(handle);
  }

  /** The object, or null. */
  std::shared_ptr<Object> find(const void *handle) const {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(reinterpret_cast<uint64_t>(handle));
    return found == live_.end() ? nullptr : found->second;
  }

  /** The object, which is no longer found, or null. */
  std::shared_ptr<Object> remove(const void *handle) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(reinterpret_cast<uint64_t>(handle));
    if (found == live_.end()) return nullptr;
    std::shared_ptr<Object> object = std::move(found->second);
    live_.erase(found);
    return object;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    live_.clear();
  }

  /** What is wrong with a handle that find() does not know. */
  std::string why_not(const void *handle) const {
    const std::lock_guard lock(mutex_);
    const uint64_t bits = reinterpret_cast<uint64_t>(handle);
    const uint64_t of = bits >> 48 & 0xff;
    const std::string expected = text("expected a live ", name_of(kind));
    if (handle == nullptr) return text("the handle is NULL, ", expected);
    if (bits >> 56 != kMark || bits % 16 != 0 || name_of(static_cast<Kind>(of)) == nullptr) {
      return text(handle, " is no handle of this device, ", expected);
    }
    if (of != static_cast<uint64_t>(kind)) return text(handle, " is a ", name_of(static_cast<Kind>(of)), ", ", expected);
    if ((bits >> 4 & 0xfffffffffff) <= issued_) return text(handle, " was destroyed, ", expected);
    return text(handle, " was never created, ", expected);
  }

 private:
  static constexpr uint64_t kMark = 7;

  mutable std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<Object>> live_;
  uint64_t issued_ = 0;
};

}  // namespace gatun::doubles

#endif
