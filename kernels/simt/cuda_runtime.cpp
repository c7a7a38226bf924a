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
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cuda_api.h"
#include "device_properties.h"
#include "emulated_device.h"
#include "stream.h"

namespace gatun::simt {
namespace {

using namespace gatun::doubles;

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
    describe_device(prop, device().memory().total());
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
