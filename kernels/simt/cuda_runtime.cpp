/*
 * cuda_runtime.cpp: the CUDA runtime of the emulated GPU.
 *
 * Streams, events, graphs, memory. Device memory is host memory, filled with 0xff (NaN in every float type) when it is allocated and when it
 * is freed. Misuse is refused where a GPU refuses it, and also where a GPU lets it pass and gives wrong numbers: copies that leave their
 * block, copy kinds that contradict the pointers, overlapping copies, destroyed handles.
 *
 * Environment, read once:
 *   GATUN_SIMT_MEMORY   bytes of memory of the emulated device, 8 GiB unless set
 *   GATUN_SIMT_DEFER    0: run work when it is submitted; 1, the default: when it is waited for (see stream.h)
 *
 * Not emulated, and refused: capture of more than one stream into a graph, per-thread default streams.
 */
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_api.h"
#include "handles.h"
#include "stream.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace gatun::simt {
namespace {

using doubles::Handles;
using doubles::Kind;
using doubles::text;

using Work = std::function<void()>;
using Clock = std::chrono::steady_clock;

/** Work that a stream may have queued before it runs the oldest of it; a GPU has about as many places. */
constexpr size_t kQueueLimit = 1024;

/** Freed blocks are kept this long, as a sum of their bytes, so that stale pointers are known for what they are. */
constexpr size_t kQuarantineBytes = size_t{256} << 20;

/** What an executable graph takes of the device's memory; about what drivers take. */
constexpr size_t kGraphBytes = size_t{64} << 10, kNodeBytes = size_t{1} << 10;

/** cudaMalloc aligns to this. */
constexpr size_t kAlignment = 256;

struct ErrorName {
  cudaError_t error;
  const char *name;
  const char *text;
};
constexpr ErrorName kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    {cudaErrorIllegalInstruction, "cudaErrorIllegalInstruction", "an illegal instruction was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorName *find_error(cudaError_t error) {
  for (const ErrorName &known : kErrors) {
    if (known.error == error) return &known;
  }
  return nullptr;
}

/** A call that is refused; call() turns it into the code that the function returns. */
struct Refusal {
  cudaError_t error;
  std::string text;
};

struct LastError {
  cudaError_t pending = cudaSuccess;  // what cudaGetLastError returns once
  cudaError_t error = cudaSuccess;    // what text is about
  std::string text;
  std::string shown;  // owned text of cudaGetErrorString
};
LastError &last_error() {
  thread_local LastError last;
  return last;
}
cudaError_t remember(cudaError_t error, std::string why) {
  LastError &last = last_error();
  last.pending = last.error = error;
  last.text = std::move(why);
  return error;
}

struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  std::vector<Work> nodes;
  std::string broken_by;  // why it is invalidated; empty while it is valid
};

struct Queue;

/** A piece of work, or, where `until` is set, a wait for another stream. */
struct Item {
  Work work;
  std::shared_ptr<Queue> source;
  uint64_t until = 0;
};

/** A stream. Items are numbered from 1 in the order of submission. */
struct Queue {
  bool blocking = true;  // waits for the NULL stream, and the NULL stream for it
  std::deque<Item> items;
  uint64_t submitted = 0;
  uint64_t completed = 0;
  std::shared_ptr<Capture> capture;
};

/** One cudaEventRecord. */
struct Record {
  std::shared_ptr<Queue> queue;
  uint64_t ticket = 0;
  std::shared_ptr<Capture> capture;  // the one that it was recorded in, if any
  Clock::time_point time;
};

struct Event {
  bool timing;
  std::shared_ptr<Record> record;  // null before the first
};

using Nodes = std::shared_ptr<const std::vector<Work>>;

struct Graph {
  Nodes nodes;
  std::shared_ptr<void> memory;  // of an executable one
};

/** Blocks by their first address. */
using Blocks = std::map<uintptr_t, size_t>;

uintptr_t address(const void *p) {
  return reinterpret_cast<uintptr_t>(p);
}

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

enum class Place { kDevice, kPinned, kPageable, kNone };

/** Allocations. */
class Memory {
 public:
  explicit Memory(size_t total) : total_(total) {}

  size_t total() const { return total_; }
  size_t free() const {
    const std::shared_lock lock(mutex_);
    return total_ - used_;
  }

  void *allocate(size_t bytes) {
    const std::unique_lock lock(mutex_);
    if (bytes > total_ - used_) {
      throw Refusal{cudaErrorMemoryAllocation, text(bytes, " bytes asked for, ", total_ - used_, " of the device's ", total_, " are free")};
    }
    void *block = allocate_poisoned(bytes);
    used_ += bytes;
    live_.emplace(address(block), bytes);
    return block;
  }

  void release(void *p) {
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

  /** Takes memory of the device that nobody sees; it is given back with the last copy of the result. */
  std::shared_ptr<void> reserve(size_t bytes) {
    const std::unique_lock lock(mutex_);
    if (bytes > total_ - used_) {
      throw Refusal{cudaErrorMemoryAllocation, text(bytes, " bytes needed, ", total_ - used_, " of the device's ", total_, " are free")};
    }
    used_ += bytes;
    return {this, [bytes](void *memory) { static_cast<Memory *>(memory)->give_back(bytes); }};
  }

  void *allocate_pinned(size_t bytes) {
    const std::unique_lock lock(mutex_);
    void *block = allocate_poisoned(bytes);
    pinned_.emplace(address(block), bytes);
    return block;
  }

  void release_pinned(void *p) {
    const std::unique_lock lock(mutex_);
    const auto block = pinned_.find(address(p));
    if (block == pinned_.end()) throw Refusal{cudaErrorInvalidValue, text(p, " is not what cudaHostAlloc returned: it ", describe_locked(p, 1))};
    std::memset(p, 0xff, block->second);
    pinned_.erase(block);
    std::free(p);
  }

  Place place(const void *p, size_t bytes) const {
    const std::shared_lock lock(mutex_);
    if (inside_one(live_, p, bytes)) return Place::kDevice;
    if (inside_one(pinned_, p, bytes)) return Place::kPinned;
    for (const Blocks *blocks : {&live_, &pinned_, &freed_}) {
      if (overlaps_any(*blocks, p, bytes)) return Place::kNone;
    }
    return p == nullptr ? Place::kNone : Place::kPageable;
  }

  std::string describe(const void *p, size_t bytes) const {
    const std::shared_lock lock(mutex_);
    return describe_locked(p, bytes);
  }

  void clear() {
    const std::unique_lock lock(mutex_);
    while (!quarantine_.empty()) discard_oldest();
    for (const Blocks *blocks : {&live_, &pinned_}) {
      for (const auto &[begin, bytes] : *blocks) std::free(reinterpret_cast<void *>(begin));
    }
    live_.clear();
    pinned_.clear();
    used_ = 0;
  }

 private:
  static void *allocate_poisoned(size_t bytes) {
    // Not rounded up: with AddressSanitizer, a kernel that leaves its block is caught at the first byte.
    void *block = nullptr;
    if (posix_memalign(&block, kAlignment, bytes) != 0) throw std::bad_alloc();
    std::memset(block, 0xff, bytes);
    return block;
  }

  void give_back(size_t bytes) {
    const std::unique_lock lock(mutex_);
    used_ -= std::min(bytes, used_);  // after a reset nothing is used
  }

  void discard_oldest() {
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

  std::string describe_locked(const void *p, size_t bytes) const {
    if (p == nullptr) return "is NULL";
    const std::pair<const Blocks *, const char *> kinds[] = {
        {&live_, "device memory"}, {&pinned_, "pinned memory"}, {&freed_, "freed device memory"}};
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

  mutable std::shared_mutex mutex_;
  const size_t total_;
  size_t used_ = 0;
  Blocks live_;
  Blocks pinned_;
  Blocks freed_;
  std::deque<void *> quarantine_;
  size_t quarantined_ = 0;
};

/** A whole number of the environment, or `otherwise` where it is not set; nothing where it is set to something else. */
std::optional<size_t> number_of_environment(const char *name, size_t otherwise) {
  const char *value = std::getenv(name);
  if (value == nullptr || *value == 0) return otherwise;
  if (*value < '0' || *value > '9') return std::nullopt;
  char *end = nullptr;
  errno = 0;
  const unsigned long long number = std::strtoull(value, &end, 10);
  if (*end != 0 || errno != 0) return std::nullopt;
  return number;
}

class Device {
 public:
  Device()
      : memory_(number_of_environment("GATUN_SIMT_MEMORY", size_t{8} << 30).value_or(0)),
        deferred_(number_of_environment("GATUN_SIMT_DEFER", 1).value_or(1) != 0) {
    for (const char *name : {"GATUN_SIMT_MEMORY", "GATUN_SIMT_DEFER"}) {
      if (!number_of_environment(name, 0)) fail(cudaErrorInitializationError, text(name, " is '", std::getenv(name), "', expected a whole number"));
    }
  }

  Memory &memory() { return memory_; }

  // The failure of the device.

  void fail(cudaError_t error, std::string why) {
    const std::lock_guard lock(failure_mutex_);
    if (failure_ != cudaSuccess) return;
    failure_text_ = std::move(why);
    failure_ = error;
  }
  cudaError_t failure() const { return failure_; }
  std::string failure_text() {
    const std::lock_guard lock(failure_mutex_);
    return failure_text_;
  }
  void check_failure() {
    if (failure_ != cudaSuccess) throw Refusal{failure_, failure_text()};
  }

  // Streams.

  cudaStream_t create_stream(bool blocking) {
    const auto queue = std::make_shared<Queue>();
    queue->blocking = blocking;
    const std::lock_guard lock(mutex_);
    queues_.push_back(queue);
    return static_cast<cudaStream_t>(streams_.add(queue));
  }

  std::shared_ptr<Queue> queue_of(cudaStream_t stream) {
    constexpr uintptr_t kLegacy = 1, kPerThread = 2;  // cudaStreamLegacy, cudaStreamPerThread
    if (stream == nullptr || address(stream) == kLegacy) return null_queue_;
    if (address(stream) == kPerThread)
      throw Refusal{cudaErrorNotSupported, "the emulated device has no cudaStreamPerThread, expected a stream of cudaStreamCreateWithFlags"};
    std::shared_ptr<Queue> queue = streams_.find(stream);
    if (queue == nullptr) throw Refusal{cudaErrorInvalidResourceHandle, streams_.why_not(stream)};
    return queue;
  }

  void destroy_stream(cudaStream_t stream) {
    const std::shared_ptr<Queue> queue = streams_.find(stream);
    if (queue == nullptr) throw Refusal{cudaErrorInvalidResourceHandle, streams_.why_not(stream)};
    {
      const std::lock_guard lock(mutex_);
      if (queue->capture != nullptr) {
        throw Refusal{cudaErrorStreamCaptureUnsupported,
                      break_capture(*queue, "cudaStreamDestroy of a capturing stream, expected cudaStreamEndCapture first")};
      }
    }
    drain(queue);
    streams_.remove(stream);
    const std::lock_guard lock(mutex_);
    std::erase(queues_, queue);
  }

  /** Queues or records the work. */
  void submit(const std::shared_ptr<Queue> &queue, Work work) {
    check_failure();
    uint64_t ticket = 0;
    {
      const std::lock_guard lock(mutex_);
      if (queue->capture != nullptr) {
        valid_capture(*queue).nodes.push_back(std::move(work));
        return;
      }
      order_with_null_stream(queue);
      queue->items.push_back({std::move(work), nullptr});
      ticket = ++queue->submitted;
    }
    // Each queue alone stays below its limit; a wait in it may run other queues.
    run_until(queue, !deferred_ ? ticket : ticket > kQueueLimit ? ticket - kQueueLimit : 0);
  }

  /** Runs all that was submitted to the queue before. */
  void drain(const std::shared_ptr<Queue> &queue) {
    uint64_t ticket = 0;
    {
      const std::lock_guard lock(mutex_);
      order_with_null_stream(queue);
      ticket = queue->submitted;
    }
    run_until(queue, ticket);
  }

  void drain_all() {
    std::vector<std::shared_ptr<Queue>> queues;
    {
      const std::lock_guard lock(mutex_);
      queues = queues_;
    }
    for (const std::shared_ptr<Queue> &queue : queues) drain(queue);
  }

  /** Drains the queue, which must not be capturing. */
  void synchronize(const std::shared_ptr<Queue> &queue, const char *name) {
    refuse_of_capturing(*queue, name);
    refuse_while_capturing(name);
    drain(queue);
  }

  bool capturing(const Queue &queue) {
    const std::lock_guard lock(mutex_);
    return queue.capture != nullptr;
  }

  /** Refuses what a capturing stream cannot have, and breaks its capture. */
  void refuse_of_capturing(const Queue &queue, const char *what) {
    const std::lock_guard lock(mutex_);
    if (queue.capture != nullptr) {
      throw Refusal{cudaErrorStreamCaptureUnsupported, break_capture(queue, text(what, " on a stream that is capturing"))};
    }
  }

  /** Refuses what may not be called while anything is captured, but for captures in relaxed mode, and breaks those captures. */
  void refuse_while_capturing(const char *what) {
    const std::lock_guard lock(mutex_);
    for (const std::shared_ptr<Queue> &queue : queues_) {
      const std::shared_ptr<Capture> &capture = queue->capture;
      if (capture == nullptr || capture->mode == cudaStreamCaptureModeRelaxed) continue;
      if (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread != std::this_thread::get_id()) continue;
      throw Refusal{cudaErrorStreamCaptureUnsupported, break_capture(*queue, text(what, " while a stream is capturing"))};
    }
  }

  // Capture.

  void begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    const std::shared_ptr<Queue> queue = queue_of(stream);
    if (mode > cudaStreamCaptureModeRelaxed) throw Refusal{cudaErrorInvalidValue, text("capture mode is ", mode, ", expected 0, 1 or 2")};
    if (queue == null_queue_)
      throw Refusal{cudaErrorStreamCaptureUnsupported, "the NULL stream cannot be captured, expected a stream of cudaStreamCreateWithFlags"};
    const std::lock_guard lock(mutex_);
    if (queue->capture != nullptr) throw Refusal{cudaErrorIllegalState, "the stream is capturing already"};
    queue->capture = std::make_shared<Capture>(Capture{mode, std::this_thread::get_id(), {}, {}});
  }

  cudaGraph_t end_capture(cudaStream_t stream) {
    const std::shared_ptr<Queue> queue = queue_of(stream);
    const std::lock_guard lock(mutex_);
    if (queue->capture == nullptr) throw Refusal{cudaErrorIllegalState, "the stream is not capturing, expected cudaStreamBeginCapture before"};
    if (queue->capture->mode != cudaStreamCaptureModeRelaxed && queue->capture->thread != std::this_thread::get_id()) {
      throw Refusal{cudaErrorStreamCaptureWrongThread, "the capture was begun by another thread"};
    }
    const std::shared_ptr<Capture> capture = std::move(queue->capture);
    queue->capture = nullptr;
    if (!capture->broken_by.empty()) throw Refusal{cudaErrorStreamCaptureInvalidated, text("the capture was invalidated by ", capture->broken_by)};
    const auto graph = std::make_shared<Graph>();
    graph->nodes = std::make_shared<const std::vector<Work>>(std::move(capture->nodes));
    return static_cast<cudaGraph_t>(graphs_.add(graph));
  }

  // Events.

  std::shared_ptr<Event> event_of(cudaEvent_t event) {
    std::shared_ptr<Event> found = events_.find(event);
    if (found == nullptr) throw Refusal{cudaErrorInvalidResourceHandle, events_.why_not(event)};
    return found;
  }

  void record(cudaEvent_t handle, cudaStream_t stream) {
    const std::shared_ptr<Event> event = event_of(handle);
    const std::shared_ptr<Queue> queue = queue_of(stream);
    const auto record = std::make_shared<Record>();
    record->queue = queue;
    {
      const std::lock_guard lock(mutex_);
      if (queue->capture != nullptr) {
        valid_capture(*queue);
        record->capture = queue->capture;
        event->record = record;
        return;
      }
    }
    // In between another thread may submit to the stream: the event is then recorded behind that.
    submit(queue, [record] { record->time = Clock::now(); });
    const std::lock_guard lock(mutex_);
    record->ticket = queue->submitted;
    event->record = record;
  }

  void wait(cudaStream_t stream, cudaEvent_t handle) {
    const std::shared_ptr<Queue> queue = queue_of(stream);
    const std::shared_ptr<Event> event = event_of(handle);
    const std::lock_guard lock(mutex_);
    const std::shared_ptr<Record> &record = event->record;
    if (record == nullptr) return;  // as on a device: nothing to wait for
    if (queue->capture != nullptr) {
      valid_capture(*queue);
      if (record->capture == queue->capture) return;  // its own past
      throw Refusal{cudaErrorStreamCaptureIsolation, break_capture(*queue, "cudaStreamWaitEvent for an event that was recorded outside the capture")};
    }
    if (record->capture != nullptr && record->capture != record->queue->capture)
      throw Refusal{cudaErrorCapturedEvent, "the event was last recorded in a capture"};
    if (record->capture != nullptr) {
      throw Refusal{
          cudaErrorStreamCaptureUnsupported,
          break_capture(*record->queue, "cudaStreamWaitEvent of another stream for a captured event: the emulated device captures one stream")};
    }
    push_wait(*queue, record->queue, record->ticket);
  }

  void synchronize(cudaEvent_t handle) {
    const std::shared_ptr<Record> record = uncaptured(handle, "cudaEventSynchronize");
    refuse_while_capturing("cudaEventSynchronize");
    if (record != nullptr) run_until(record->queue, record->ticket);
  }

  /** Whether the event has happened; if not, one piece of work is done, so that asking again and again ends. */
  bool query(cudaEvent_t handle) {
    const std::shared_ptr<Record> record = uncaptured(handle, "cudaEventQuery");
    refuse_while_capturing("cudaEventQuery");
    if (record == nullptr || happened(*record)) return true;
    step(record->queue);
    return false;
  }

  float milliseconds_between(cudaEvent_t start, cudaEvent_t end) {
    Clock::time_point times[2];
    for (int i = 0; i < 2; ++i) {
      const cudaEvent_t handle = i == 0 ? start : end;
      const char *which = i == 0 ? "start" : "end";
      if (!event_of(handle)->timing)
        throw Refusal{cudaErrorInvalidResourceHandle, text("the ", which, " event has no timing, expected one without cudaEventDisableTiming")};
      const std::shared_ptr<Record> record = uncaptured(handle, "cudaEventElapsedTime");
      if (record == nullptr) throw Refusal{cudaErrorInvalidResourceHandle, text("the ", which, " event was never recorded")};
      if (!happened(*record)) throw Refusal{cudaErrorNotReady, text("the ", which, " event has not happened, expected cudaEventSynchronize before")};
      times[i] = record->time;
    }
    return std::chrono::duration<float, std::milli>(times[1] - times[0]).count();
  }

  // Graphs.

  cudaGraphExec_t instantiate(cudaGraph_t handle) {
    const std::shared_ptr<Graph> graph = graphs_.find(handle);
    if (graph == nullptr) throw Refusal{cudaErrorInvalidValue, graphs_.why_not(handle)};
    const auto exec = std::make_shared<Graph>(*graph);
    exec->memory = memory_.reserve(kGraphBytes + kNodeBytes * exec->nodes->size());
    return static_cast<cudaGraphExec_t>(execs_.add(exec));
  }

  void launch(cudaGraphExec_t handle, cudaStream_t stream) {
    const std::shared_ptr<Graph> graph = execs_.find(handle);
    if (graph == nullptr) throw Refusal{cudaErrorInvalidValue, execs_.why_not(handle)};
    submit(queue_of(stream), [this, nodes = graph->nodes, memory = graph->memory] {
      for (const Work &work : *nodes) {
        if (failure_ != cudaSuccess) return;
        work();
      }
    });
  }

  template <class Object, Kind kind, class Handle>
  void destroy(Handles<Object, kind> &handles, Handle handle, cudaError_t error) {
    if (handles.remove(handle) == nullptr) throw Refusal{error, handles.why_not(handle)};
  }

  Handles<Event, Kind::kEvent> &events() { return events_; }
  Handles<Graph, Kind::kGraph> &graphs() { return graphs_; }
  Handles<Graph, Kind::kGraphExec> &execs() { return execs_; }

  /** As new: nothing queued, recorded, allocated or failed. */
  void reset() {
    const std::lock_guard execution(execution_mutex_);
    const std::lock_guard lock(mutex_);
    for (const std::shared_ptr<Queue> &queue : queues_) {
      queue->items.clear();
      queue->completed = queue->submitted;
      queue->capture = nullptr;
    }
    queues_ = {null_queue_};
    streams_.clear();
    events_.clear();
    graphs_.clear();
    execs_.clear();
    memory_.clear();
    const std::lock_guard failure(failure_mutex_);
    failure_ = cudaSuccess;
    failure_text_.clear();
  }

 private:
  // The functions from here to the next heading want mutex_ held.

  /** Ends the capture's chance of becoming a graph; returns the reason. */
  static std::string break_capture(const Queue &queue, std::string why) {
    if (queue.capture != nullptr && queue.capture->broken_by.empty()) queue.capture->broken_by = why;
    return why;
  }

  static Capture &valid_capture(const Queue &queue) {
    if (!queue.capture->broken_by.empty()) {
      throw Refusal{cudaErrorStreamCaptureInvalidated, text("the stream's capture was invalidated by ", queue.capture->broken_by)};
    }
    return *queue.capture;
  }

  static void push_wait(Queue &queue, const std::shared_ptr<Queue> &source, uint64_t ticket) {
    if (source.get() == &queue || source->completed >= ticket) return;
    queue.items.push_back({nullptr, source, ticket});
    ++queue.submitted;
  }

  /** The NULL stream waits for all blocking streams, and they for it. */
  void order_with_null_stream(const std::shared_ptr<Queue> &queue) {
    if (queue != null_queue_) {
      if (queue->blocking) push_wait(*queue, null_queue_, null_queue_->submitted);
      return;
    }
    for (const std::shared_ptr<Queue> &other : queues_) {
      if (other == null_queue_ || !other->blocking) continue;
      if (other->capture != nullptr) {
        throw Refusal{cudaErrorStreamCaptureImplicit,
                      break_capture(*other, "use of the NULL stream, which waits for every stream without cudaStreamNonBlocking")};
      }
      push_wait(*null_queue_, other, other->submitted);
    }
  }

  // Running. Order of the locks: execution_mutex_, mutex_, failure_mutex_.

  bool happened(const Record &record) {
    const std::lock_guard lock(mutex_);
    return record.queue->completed >= record.ticket;
  }

  std::shared_ptr<Record> uncaptured(cudaEvent_t handle, const char *name) {
    const std::shared_ptr<Event> event = event_of(handle);
    const std::lock_guard lock(mutex_);
    if (event->record != nullptr && event->record->capture != nullptr) {
      if (event->record->capture == event->record->queue->capture) break_capture(*event->record->queue, text(name, " of a captured event"));
      throw Refusal{cudaErrorCapturedEvent, "the event was last recorded in a capture"};
    }
    return event->record;
  }

  /** Runs the items of the queue up to number `ticket`, and of other queues what they wait for. */
  void run_until(const std::shared_ptr<Queue> &queue, uint64_t ticket) {
    {
      const std::lock_guard lock(mutex_);
      if (queue->completed >= ticket) return;
    }
    const std::lock_guard execution(execution_mutex_);
    while (true) {
      Item item;
      {
        const std::lock_guard lock(mutex_);
        if (queue->completed >= ticket || queue->items.empty()) return;
        item = std::move(queue->items.front());
        queue->items.pop_front();
      }
      // What a wait is for was submitted before the wait: no circle is possible.
      if (item.source != nullptr) {
        run_until(item.source, item.until);
      } else {
        run(item.work);
      }
      const std::lock_guard lock(mutex_);
      ++queue->completed;
    }
  }

  /** Runs one piece of work of the queue, or of a queue that it waits for. */
  void step(const std::shared_ptr<Queue> &queue) {
    const std::lock_guard execution(execution_mutex_);
    std::shared_ptr<Queue> source;
    uint64_t next = 0;
    {
      const std::lock_guard lock(mutex_);
      if (queue->items.empty()) return;
      const Item &item = queue->items.front();
      if (item.source != nullptr && item.source->completed < item.until) source = item.source;
      next = queue->completed + 1;
    }
    if (source != nullptr) {
      step(source);
    } else {
      run_until(queue, next);
    }
  }

  void run(const Work &work) {
    if (failure_ != cudaSuccess) return;
    try {
      work();
    } catch (const std::exception &e) {
      fail(cudaErrorLaunchFailure, text("work on the emulated device threw: ", e.what()));
    }
  }

  Memory memory_;
  const bool deferred_;

  std::recursive_mutex execution_mutex_;  // held by the thread that runs work
  std::mutex mutex_;                      // of all queues, captures and records; never held while work runs
  const std::shared_ptr<Queue> null_queue_ = std::make_shared<Queue>();
  std::vector<std::shared_ptr<Queue>> queues_{null_queue_};
  Handles<Queue, Kind::kStream> streams_;
  Handles<Event, Kind::kEvent> events_;
  Handles<Graph, Kind::kGraph> graphs_;
  Handles<Graph, Kind::kGraphExec> execs_;

  std::mutex failure_mutex_;
  std::atomic<cudaError_t> failure_ = cudaSuccess;
  std::string failure_text_;
};

/** Never destroyed: threads may still use it while the process ends. */
Device &device() {
  static Device &only = *new Device();
  return only;
}

/** The one guard of every function that touches the device. */
template <class Body>
cudaError_t call(const char *name, const Body &body) {
  try {
    device().check_failure();
    body();
    device().check_failure();
    return cudaSuccess;
  } catch (const Refusal &refusal) {
    return remember(refusal.error, refusal.error == device().failure() ? refusal.text : text(name, ": ", refusal.text));
  } catch (const std::bad_alloc &) {
    return remember(cudaErrorMemoryAllocation, text(name, ": the host is out of memory"));
  } catch (const std::exception &e) {
    return remember(cudaErrorUnknown, text(name, ": ", e.what()));
  }
}

void check_result(const void *result, const char *name) {
  if (result == nullptr) throw Refusal{cudaErrorInvalidValue, text(name, " is NULL, expected where to store the result")};
}

void check_flags(unsigned int flags, unsigned int known) {
  if ((flags & ~known) != 0) throw Refusal{cudaErrorInvalidValue, text("flags are ", flags, ", expected a subset of ", known)};
}

void check_device(int ordinal) {
  if (ordinal != 0) throw Refusal{cudaErrorInvalidDevice, text("device is ", ordinal, ", expected 0: there is one emulated device")};
}

void check_place(const char *name, const void *p, size_t bytes, bool on_device) {
  const Place place = device().memory().place(p, bytes);
  const bool fits = on_device ? place == Place::kDevice : place == Place::kPinned || place == Place::kPageable;
  if (fits) return;
  throw Refusal{cudaErrorInvalidValue, text(name, " = ", p, " + ", bytes, " bytes ", describe(p, bytes), ", expected ", bytes, " bytes of ",
                                            on_device ? "one live block of cudaMalloc" : "host memory")};
}

/** A copy between ranges that were good when it was submitted; when it runs they must be so still. */
Work copy_work(void *dst, const void *src, size_t bytes) {
  const Place to = device().memory().place(dst, bytes);
  const Place from = device().memory().place(src, bytes);
  return [=] {
    for (const auto &[p, place] : {std::pair<const void *, Place>(dst, to), {src, from}}) {
      if (device().memory().place(p, bytes) == place) continue;
      fail(cudaErrorIllegalAddress, text("cudaMemcpyAsync of ", bytes, " bytes from ", src, " to ", dst, " ran when ", p, " ", describe(p, bytes)));
      return;
    }
    std::memcpy(dst, src, bytes);
  };
}

void copy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::shared_ptr<Queue> queue = device().queue_of(stream);
  if (kind > cudaMemcpyDefault) throw Refusal{cudaErrorInvalidMemcpyDirection, text("kind is ", kind, ", expected 0 to 4")};
  if (bytes == 0) return;
  Memory &memory = device().memory();
  const bool to_device =
      kind == cudaMemcpyDefault ? memory.place(dst, bytes) == Place::kDevice : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device =
      kind == cudaMemcpyDefault ? memory.place(src, bytes) == Place::kDevice : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  check_place("dst", dst, bytes, to_device);
  check_place("src", src, bytes, from_device);
  if (address(dst) < address(src) + bytes && address(src) < address(dst) + bytes) {
    throw Refusal{cudaErrorInvalidValue, text("dst = ", dst, " and src = ", src, " overlap in ", bytes, " bytes")};
  }
  if (memory.place(src, bytes) == Place::kPageable) {
    device().refuse_of_capturing(*queue, "cudaMemcpyAsync from pageable memory");
    const auto staged = std::make_shared<std::vector<char>>(static_cast<const char *>(src), static_cast<const char *>(src) + bytes);
    device().submit(queue, [staged, work = copy_work(dst, staged->data(), bytes)] { work(); });
  } else {
    if (memory.place(dst, bytes) == Place::kPageable) device().refuse_of_capturing(*queue, "cudaMemcpyAsync to pageable memory");
    device().submit(queue, copy_work(dst, src, bytes));
  }
  // A copy to pageable memory returns when it is done.
  if (memory.place(dst, bytes) == Place::kPageable) device().drain(queue);
}

// The emulated device: an H100, as far as Gatun asks.

constexpr const char *kName = "Gatun SIMT emulation";
constexpr const char *kPciBusId = "0000:00:00.0";
constexpr int kCudaVersion = 13000;

struct Attribute {
  cudaDeviceAttr attribute;
  int value;
};
constexpr Attribute kAttributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, 2147483647},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxRegistersPerBlock, 65536},
    {cudaDevAttrClockRate, 1980000},
    {cudaDevAttrMultiProcessorCount, 132},
    {cudaDevAttrIntegrated, 0},
    {cudaDevAttrComputeMode, 0},
    {cudaDevAttrConcurrentKernels, 1},
    {cudaDevAttrEccEnabled, 1},
    {cudaDevAttrMemoryClockRate, 2619000},
    {cudaDevAttrGlobalMemoryBusWidth, 5120},
    {cudaDevAttrL2CacheSize, 50 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrAsyncEngineCount, 3},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrComputeCapabilityMajor, 9},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrCooperativeLaunch, 1},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
    {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
};

int attribute(cudaDeviceAttr asked) {
  for (const Attribute &known : kAttributes) {
    if (known.attribute == asked) return known.value;
  }
  throw Refusal{cudaErrorNotSupported, text("attribute ", asked, " is not one that the emulated device has")};
}

template <class Value>
void put(cudaDeviceProp *prop, size_t offset, const Value &value) {
  std::memcpy(prop->bytes + offset, &value, sizeof value);
}

void describe_device(cudaDeviceProp *prop) {
  std::memset(prop, 0, sizeof *prop);
  std::strcpy(prop->bytes + offset_of_name, kName);
  const unsigned char uuid[16] = {'g', 'a', 't', 'u', 'n', '-', 's', 'i', 'm', 't'};
  put(prop, offset_of_uuid, uuid);
  put(prop, offset_of_totalGlobalMem, device().memory().total());
  put(prop, offset_of_memPitch, size_t{2147483647});
  const int block[3] = {attribute(cudaDevAttrMaxBlockDimX), attribute(cudaDevAttrMaxBlockDimY), attribute(cudaDevAttrMaxBlockDimZ)};
  const int grid[3] = {attribute(cudaDevAttrMaxGridDimX), attribute(cudaDevAttrMaxGridDimY), attribute(cudaDevAttrMaxGridDimZ)};
  put(prop, offset_of_maxThreadsDim, block);
  put(prop, offset_of_maxGridSize, grid);
  put(prop, offset_of_totalConstMem, size_t{64 << 10});
  put(prop, offset_of_reservedSharedMemPerBlock, size_t{1 << 10});
  const std::pair<size_t, cudaDeviceAttr> sizes[] = {
      {offset_of_sharedMemPerBlock, cudaDevAttrMaxSharedMemoryPerBlock},
      {offset_of_sharedMemPerMultiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor},
      {offset_of_sharedMemPerBlockOptin, cudaDevAttrMaxSharedMemoryPerBlockOptin},
  };
  for (const auto &[offset, source] : sizes) put(prop, offset, static_cast<size_t>(attribute(source)));
  const std::pair<size_t, cudaDeviceAttr> numbers[] = {
      {offset_of_regsPerBlock, cudaDevAttrMaxRegistersPerBlock},
      {offset_of_warpSize, cudaDevAttrWarpSize},
      {offset_of_maxThreadsPerBlock, cudaDevAttrMaxThreadsPerBlock},
      {offset_of_major, cudaDevAttrComputeCapabilityMajor},
      {offset_of_minor, cudaDevAttrComputeCapabilityMinor},
      {offset_of_multiProcessorCount, cudaDevAttrMultiProcessorCount},
      {offset_of_concurrentKernels, cudaDevAttrConcurrentKernels},
      {offset_of_ECCEnabled, cudaDevAttrEccEnabled},
      {offset_of_asyncEngineCount, cudaDevAttrAsyncEngineCount},
      {offset_of_unifiedAddressing, cudaDevAttrUnifiedAddressing},
      {offset_of_memoryBusWidth, cudaDevAttrGlobalMemoryBusWidth},
      {offset_of_l2CacheSize, cudaDevAttrL2CacheSize},
      {offset_of_maxThreadsPerMultiProcessor, cudaDevAttrMaxThreadsPerMultiProcessor},
      {offset_of_regsPerMultiprocessor, cudaDevAttrMaxRegistersPerMultiprocessor},
      {offset_of_cooperativeLaunch, cudaDevAttrCooperativeLaunch},
      {offset_of_maxBlocksPerMultiProcessor, cudaDevAttrMaxBlocksPerMultiprocessor},
  };
  for (const auto &[offset, source] : numbers) put(prop, offset, attribute(source));
}

}  // namespace

int submit(Stream stream, std::function<void()> work) {
  return call("submit", [&] { device().submit(device().queue_of(stream), std::move(work)); });
}

void fail(int error, std::string why) {
  device().fail(static_cast<cudaError_t>(error), std::move(why));
}

bool is_device_memory(const void *p, size_t bytes) {
  return device().memory().place(p, bytes) == Place::kDevice;
}

bool is_pinned_memory(const void *p, size_t bytes) {
  return device().memory().place(p, bytes) == Place::kPinned;
}

std::string describe(const void *p, size_t bytes) {
  return device().memory().describe(p, bytes);
}

std::string last_error_text() {
  return device().failure() != cudaSuccess ? device().failure_text() : last_error().text;
}

}  // namespace gatun::simt

using namespace gatun::simt;
using gatun::doubles::text;

cudaError_t cudaGetDeviceCount(int *count) {
  return call("cudaGetDeviceCount", [&] {
    check_result(count, "count");
    *count = 1;
  });
}

cudaError_t cudaSetDevice(int ordinal) {
  return call("cudaSetDevice", [&] { check_device(ordinal); });
}

cudaError_t cudaGetDevice(int *ordinal) {
  return call("cudaGetDevice", [&] {
    check_result(ordinal, "device");
    *ordinal = 0;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int ordinal) {
  return call("cudaGetDeviceProperties", [&] {
    check_result(prop, "prop");
    check_device(ordinal);
    describe_device(prop);
  });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int ordinal) {
  return call("cudaDeviceGetAttribute", [&] {
    check_result(value, "value");
    check_device(ordinal);
    *value = attribute(attr);
  });
}

cudaError_t cudaDeviceGetPCIBusId(char *pciBusId, int len, int ordinal) {
  return call("cudaDeviceGetPCIBusId", [&] {
    check_result(pciBusId, "pciBusId");
    check_device(ordinal);
    const int needed = static_cast<int>(std::strlen(kPciBusId)) + 1;
    if (len < needed) throw Refusal{cudaErrorInvalidValue, text("len is ", len, ", expected at least ", needed)};
    std::strcpy(pciBusId, kPciBusId);
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [&] {
    device().refuse_while_capturing("cudaDeviceSynchronize");
    device().drain_all();
  });
}

/** Also takes back the device's failure, which on a GPU often needs a new process; tests of failures need it. */
cudaError_t cudaDeviceReset() {
  device().reset();
  last_error() = {};
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *driverVersion) {
  return call("cudaDriverGetVersion", [&] {
    check_result(driverVersion, "driverVersion");
    *driverVersion = kCudaVersion;
  });
}

cudaError_t cudaRuntimeGetVersion(int *runtimeVersion) {
  return call("cudaRuntimeGetVersion", [&] {
    check_result(runtimeVersion, "runtimeVersion");
    *runtimeVersion = kCudaVersion;
  });
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  return call("cudaMemGetInfo", [&] {
    check_result(free, "free");
    check_result(total, "total");
    *free = device().memory().free();
    *total = device().memory().total();
  });
}

cudaError_t cudaMalloc(void **devPtr, size_t size) {
  return call("cudaMalloc", [&] {
    check_result(devPtr, "devPtr");
    *devPtr = nullptr;
    device().refuse_while_capturing("cudaMalloc");
    if (size > 0) *devPtr = device().memory().allocate(size);
  });
}

/** Waits for all streams, as cudaFree does. */
cudaError_t cudaFree(void *devPtr) {
  return call("cudaFree", [&] {
    if (devPtr == nullptr) return;
    device().refuse_while_capturing("cudaFree");
    device().drain_all();
    device().memory().release(devPtr);
  });
}

cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned int flags) {
  return call("cudaHostAlloc", [&] {
    check_result(pHost, "pHost");
    *pHost = nullptr;
    check_flags(flags, cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined);
    device().refuse_while_capturing("cudaHostAlloc");
    if (size > 0) *pHost = device().memory().allocate_pinned(size);
  });
}

/** Waits for all streams, as cudaFreeHost does. */
cudaError_t cudaFreeHost(void *ptr) {
  return call("cudaFreeHost", [&] {
    if (ptr == nullptr) return;
    device().refuse_while_capturing("cudaFreeHost");
    device().drain_all();
    device().memory().release_pinned(ptr);
  });
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, cudaMemcpyKind kind, cudaStream_t stream) {
  return call("cudaMemcpyAsync", [&] { copy(dst, src, count, kind, stream); });
}

cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream) {
  return call("cudaMemsetAsync", [&] {
    const std::shared_ptr<Queue> queue = device().queue_of(stream);
    if (count == 0) return;
    check_place("devPtr", devPtr, count, true);
    device().submit(queue, [=] {
      if (is_device_memory(devPtr, count)) {
        std::memset(devPtr, value, count);
      } else {
        fail(cudaErrorIllegalAddress, text("cudaMemsetAsync of ", count, " bytes ran when ", devPtr, " ", describe(devPtr, count)));
      }
    });
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *pStream, unsigned int flags) {
  return call("cudaStreamCreateWithFlags", [&] {
    check_result(pStream, "pStream");
    check_flags(flags, cudaStreamNonBlocking);
    *pStream = device().create_stream(flags == cudaStreamDefault);
  });
}

/** What is queued runs first: on a GPU it would run afterwards, with the same result. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call("cudaStreamDestroy", [&] { device().destroy_stream(stream); });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call("cudaStreamSynchronize", [&] { device().synchronize(device().queue_of(stream), "cudaStreamSynchronize"); });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  return call("cudaStreamWaitEvent", [&] {
    check_flags(flags, 0);
    device().wait(stream, event);
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags) {
  return call("cudaEventCreateWithFlags", [&] {
    check_result(event, "event");
    check_flags(flags, cudaEventBlockingSync | cudaEventDisableTiming);
    *event = static_cast<cudaEvent_t>(device().events().add(std::make_shared<Event>(Event{(flags & cudaEventDisableTiming) == 0, nullptr})));
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call("cudaEventDestroy", [&] { device().destroy(device().events(), event, cudaErrorInvalidResourceHandle); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", [&] { device().record(event, stream); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call("cudaEventSynchronize", [&] { device().synchronize(event); });
}

/** cudaErrorNotReady stays behind for cudaGetLastError, as it does on a GPU. */
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call("cudaEventQuery", [&] {
    if (!device().query(event)) throw Refusal{cudaErrorNotReady, "the event has not happened yet"};
  });
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
  return call("cudaEventElapsedTime", [&] {
    check_result(ms, "ms");
    *ms = device().milliseconds_between(start, end);
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call("cudaStreamBeginCapture", [&] { device().begin_capture(stream, mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *pGraph) {
  return call("cudaStreamEndCapture", [&] {
    check_result(pGraph, "pGraph");
    *pGraph = nullptr;
    *pGraph = device().end_capture(stream);
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *pGraphExec, cudaGraph_t graph, unsigned long long flags) {
  return call("cudaGraphInstantiate", [&] {
    check_result(pGraphExec, "pGraphExec");
    if (flags != 0) throw Refusal{cudaErrorNotSupported, text("flags are ", flags, ", the emulated device knows only 0")};
    *pGraphExec = device().instantiate(graph);
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t stream) {
  return call("cudaGraphLaunch", [&] { device().launch(graphExec, stream); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call("cudaGraphDestroy", [&] { device().destroy(device().graphs(), graph, cudaErrorInvalidValue); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec) {
  return call("cudaGraphExecDestroy", [&] { device().destroy(device().execs(), graphExec, cudaErrorInvalidValue); });
}

cudaError_t cudaGetLastError() {
  const cudaError_t failure = device().failure();
  return failure != cudaSuccess ? failure : std::exchange(last_error().pending, cudaSuccess);
}

const char *cudaGetErrorName(cudaError_t error) {
  const ErrorName *known = find_error(error);
  return known == nullptr ? "unrecognized error code" : known->name;
}

/**
 * CUDA's text of the error; where the error is the device's failure or this thread's last one, what it was about is added, and the result
 * lives until the thread asks again.
 */
const char *cudaGetErrorString(cudaError_t error) {
  const ErrorName *known = find_error(error);
  const char *general = known == nullptr ? "unrecognized error code" : known->text;
  LastError &last = last_error();
  const bool sticky = error != cudaSuccess && error == device().failure();
  if (!sticky && (error == cudaSuccess || error != last.error)) return general;
  last.shown = text(general, ": ", sticky ? device().failure_text() : last.text);
  return last.shown.c_str();
}

cudaError_t cudaProfilerStart() {
  return call("cudaProfilerStart", [] {});
}

cudaError_t cudaProfilerStop() {
  return call("cudaProfilerStop", [] {});
}
