/*
 * emulated_device.h: how the emulated device runs: streams and their queues, events, captures and graphs.
 */
#ifndef GATUN_SIMT_EMULATED_DEVICE_H
#define GATUN_SIMT_EMULATED_DEVICE_H

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_api.h"
#include "device_memory.h"
#include "errors.h"
#include "handles.h"

namespace gatun::doubles {

using Work = std::function<void()>;
using Clock = std::chrono::steady_clock;

/** Work that a stream may have queued before it runs the oldest of it; a GPU has about as many places. */
inline constexpr size_t kQueueLimit = 1024;

/** What an executable graph takes of the device's memory; about what drivers take. */
inline constexpr size_t kGraphBytes = size_t{64} << 10, kNodeBytes = size_t{1} << 10;

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

/** A whole number of the environment, or `otherwise` where it is not set; nothing where it is set to something else. */
inline std::optional<size_t> number_of_environment(const char *name, size_t otherwise) {
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

}  // namespace gatun::doubles

#endif
