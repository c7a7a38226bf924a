/*
 * The doubles of the CUDA runtime and cuBLASLt: what they compute, that they defer, and that they find misuse. Runs with GATUN_SIMT_DEFER=1
 * and 0, and with little memory (see CMakeLists.txt).
 */
#include <omp.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "cublaslt_api.h"
#include "cuda_api.h"
#include "stream.h"
#include "testing.h"

using gatun::testing::bf16_to_float;
using gatun::testing::float_to_bf16;
using gatun::testing::Random;

namespace {

bool deferred() {
  const char *value = std::getenv("GATUN_SIMT_DEFER");
  return value == nullptr || std::string(value) != "0";
}

#define CHECK_CUDA(call)                                                                          \
  do {                                                                                            \
    const cudaError_t error_ = (call);                                                            \
    CHECK(error_ == cudaSuccess, "%s: %s", cudaGetErrorName(error_), cudaGetErrorString(error_)); \
  } while (false)

/** The call returns `code`, with a text that has `part` in it, and cudaGetLastError returns the code too, once. */
#define CHECK_REFUSED(call, code, part)                                                                                            \
  do {                                                                                                                             \
    const cudaError_t error_ = (call);                                                                                             \
    CHECK(error_ == (code), "is %s, expected %s", cudaGetErrorName(error_), cudaGetErrorName(code));                               \
    CHECK(std::strstr(cudaGetErrorString(error_), part) != nullptr, "text \"%s\" lacks \"%s\"", cudaGetErrorString(error_), part); \
    CHECK(cudaGetLastError() == (code), "cudaGetLastError forgot");                                                                \
    CHECK(cudaGetLastError() == cudaSuccess, "cudaGetLastError did not forget");                                                   \
  } while (false)

#define CHECK_LT(call)                                                                                                   \
  do {                                                                                                                   \
    const cublasStatus_t status_ = (call);                                                                               \
    CHECK(status_ == CUBLAS_STATUS_SUCCESS, "%s: %s", cublasLtGetStatusName(status_), cublasLtGetStatusString(status_)); \
  } while (false)

#define CHECK_LT_REFUSED(call, code, part)                                                                                                     \
  do {                                                                                                                                         \
    const cublasStatus_t status_ = (call);                                                                                                     \
    CHECK(status_ == (code), "is %s, expected %s", cublasLtGetStatusName(status_), cublasLtGetStatusName(code));                               \
    CHECK(std::strstr(cublasLtGetStatusString(status_), part) != nullptr, "text \"%s\" lacks \"%s\"", cublasLtGetStatusString(status_), part); \
  } while (false)

/** Device memory for a test's length. */
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) { CHECK_CUDA(cudaMalloc(reinterpret_cast<void **>(&data_), count * sizeof(T))); }
  explicit DeviceArray(const std::vector<T> &values) : DeviceArray(values.size()) {
    CHECK_CUDA(cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, nullptr));
    CHECK_CUDA(cudaStreamSynchronize(nullptr));
  }
  ~DeviceArray() { CHECK_CUDA(cudaFree(data_)); }
  DeviceArray(const DeviceArray &) = delete;
  DeviceArray &operator=(const DeviceArray &) = delete;

  T *data() const { return data_; }
  size_t bytes() const { return count_ * sizeof(T); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    CHECK_CUDA(cudaDeviceSynchronize());
    CHECK_CUDA(cudaMemcpyAsync(values.data(), data_, bytes(), cudaMemcpyDeviceToHost, nullptr));
    return values;
  }

 private:
  size_t count_;
  T *data_ = nullptr;
};

/** Pinned host memory for a test's length. */
class Pinned {
 public:
  explicit Pinned(size_t count) { CHECK_CUDA(cudaHostAlloc(reinterpret_cast<void **>(&data_), count * sizeof(float), cudaHostAllocDefault)); }
  ~Pinned() { CHECK_CUDA(cudaFreeHost(data_)); }
  Pinned(const Pinned &) = delete;
  Pinned &operator=(const Pinned &) = delete;
  float *data() const { return data_; }
  float &operator[](size_t i) const { return data_[i]; }

 private:
  float *data_ = nullptr;
};

class TestStream {
 public:
  explicit TestStream(unsigned flags = cudaStreamNonBlocking) { CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, flags)); }
  ~TestStream() { CHECK_CUDA(cudaStreamDestroy(stream_)); }
  TestStream(const TestStream &) = delete;
  TestStream &operator=(const TestStream &) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class TestEvent {
 public:
  explicit TestEvent(unsigned flags = cudaEventDefault) { CHECK_CUDA(cudaEventCreateWithFlags(&event_, flags)); }
  ~TestEvent() { CHECK_CUDA(cudaEventDestroy(event_)); }
  TestEvent(const TestEvent &) = delete;
  TestEvent &operator=(const TestEvent &) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

template <class T>
T property(const cudaDeviceProp &prop, size_t offset) {
  T value;
  std::memcpy(&value, prop.bytes + offset, sizeof value);
  return value;
}

}  // namespace

TEST(device_properties) {
  int count = 0, device = -1, driver = 0, runtime = 0, value = 0;
  CHECK_CUDA(cudaGetDeviceCount(&count));
  CHECK_CUDA(cudaSetDevice(0));
  CHECK_CUDA(cudaGetDevice(&device));
  CHECK_CUDA(cudaDriverGetVersion(&driver));
  CHECK_CUDA(cudaRuntimeGetVersion(&runtime));
  CHECK(count == 1 && device == 0 && driver == 13000 && runtime == 13000, "%d %d %d %d", count, device, driver, runtime);
  cudaDeviceProp prop;
  CHECK_CUDA(cudaGetDeviceProperties(&prop, 0));
  CHECK(std::string(prop.bytes) == "Gatun SIMT emulation", "name is %s", prop.bytes);
  CHECK(property<int>(prop, offset_of_major) == 9 && property<int>(prop, offset_of_minor) == 0, "not 9.0");
  CHECK(property<int>(prop, offset_of_multiProcessorCount) == 132, "not 132");
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  CHECK(value == 227 * 1024 && property<size_t>(prop, offset_of_sharedMemPerBlockOptin) == 227 * 1024, "%d", value);
  char bus[32];
  CHECK_CUDA(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
  CHECK(std::string(bus) == "0000:00:00.0", "%s", bus);
  CHECK_REFUSED(cudaDeviceGetPCIBusId(bus, 12, 0), cudaErrorInvalidValue, "len is 12, expected at least 13");
  CHECK_REFUSED(cudaSetDevice(1), cudaErrorInvalidDevice, "device is 1, expected 0");
  CHECK_REFUSED(cudaGetDeviceProperties(&prop, -1), cudaErrorInvalidDevice, "device is -1");
  CHECK_REFUSED(cudaDeviceGetAttribute(&value, static_cast<cudaDeviceAttr>(9999), 0), cudaErrorNotSupported, "attribute 9999");
  CHECK_CUDA(cudaProfilerStart());
  CHECK_CUDA(cudaProfilerStop());
  CHECK(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)) == "cudaErrorMemoryAllocation", "name");
  CHECK(std::string(cudaGetErrorName(static_cast<cudaError_t>(12345))) == "unrecognized error code", "name");
}

TEST(memory_is_counted_and_poisoned) {
  size_t free = 0, total = 0, later = 0;
  CHECK_CUDA(cudaMemGetInfo(&free, &total));
  const char *set = std::getenv("GATUN_SIMT_MEMORY");
  CHECK(total == (set == nullptr ? size_t{8} << 30 : std::strtoull(set, nullptr, 10)), "total is %zu", total);
  {
    const DeviceArray<float> block(1000);
    CHECK_CUDA(cudaMemGetInfo(&later, &total));
    CHECK(free - later == 4000, "%zu bytes taken", free - later);
    CHECK(reinterpret_cast<uintptr_t>(block.data()) % 256 == 0, "not aligned");
    for (const float x : block.read()) CHECK(std::isnan(x), "%g, expected NaN", x);
    void *too_much = &free;
    CHECK_REFUSED(cudaMalloc(&too_much, later + 1), cudaErrorMemoryAllocation, "bytes asked for");
    CHECK(too_much == nullptr, "a pointer in spite of the error");
  }
  CHECK_CUDA(cudaMemGetInfo(&later, &total));
  CHECK(free == later, "%zu bytes free, %zu before", later, free);
  void *none = &free;
  CHECK_CUDA(cudaMalloc(&none, 0));
  CHECK(none == nullptr, "a block of no bytes");
  CHECK_CUDA(cudaFree(nullptr));
  CHECK_CUDA(cudaFreeHost(nullptr));
}

TEST(memory_is_freed_once_and_whole) {
  char *block = nullptr;
  CHECK_CUDA(cudaMalloc(reinterpret_cast<void **>(&block), 100));
  CHECK_REFUSED(cudaFree(block + 1), cudaErrorInvalidValue, "starts 1 bytes into a block of 100 bytes of device memory");
  CHECK(gatun::simt::is_device_memory(block, 100) && gatun::simt::is_device_memory(block + 99, 1), "the block");
  CHECK(!gatun::simt::is_device_memory(block, 101) && !gatun::simt::is_device_memory(block + 100, 1), "beyond the block");
  CHECK_CUDA(cudaFree(block));
  CHECK(!gatun::simt::is_device_memory(block, 1), "freed");
  CHECK_REFUSED(cudaFree(block), cudaErrorInvalidValue, "freed device memory");
  float local[4] = {};
  CHECK_REFUSED(cudaFree(local), cudaErrorInvalidValue, "is in no block");
  CHECK_REFUSED(cudaFreeHost(local), cudaErrorInvalidValue, "not what cudaHostAlloc returned");
  CHECK_REFUSED(cudaMemcpyAsync(block, local, 16, cudaMemcpyHostToDevice, nullptr), cudaErrorInvalidValue, "freed device memory");
  CHECK_REFUSED(cudaMemcpyAsync(local, block, 16, cudaMemcpyHostToHost, nullptr), cudaErrorInvalidValue, "freed device memory");
}

TEST(copies_and_memsets) {
  const TestStream stream;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
  const DeviceArray<float> x(8), y(8);
  CHECK_CUDA(cudaMemcpyAsync(x.data(), values.data(), 32, cudaMemcpyHostToDevice, stream));
  CHECK_CUDA(cudaMemcpyAsync(y.data(), x.data(), 32, cudaMemcpyDeviceToDevice, stream));
  CHECK_CUDA(cudaMemsetAsync(y.data() + 2, 0, 8, stream));
  std::vector<float> back(8);
  CHECK_CUDA(cudaMemcpyAsync(back.data(), y.data(), 32, cudaMemcpyDeviceToHost, stream));  // pageable: done on return
  CHECK((back == std::vector<float>{1, 2, 0, 0, 5, 6, 7, 8}), "%g %g %g", back[0], back[2], back[7]);
  CHECK_CUDA(cudaMemcpyAsync(x.data(), back.data(), 32, cudaMemcpyDefault, stream));
  CHECK_CUDA(cudaMemcpyAsync(back.data() + 4, x.data(), 4, cudaMemcpyDefault, stream));
  CHECK(back[4] == 1, "%g", back[4]);
  CHECK_CUDA(cudaMemcpyAsync(nullptr, nullptr, 0, cudaMemcpyHostToDevice, stream));

  CHECK_REFUSED(cudaMemcpyAsync(x.data(), values.data(), 33, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue, "leaves it by 1 bytes");
  CHECK_REFUSED(cudaMemcpyAsync(back.data(), values.data(), 32, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue, "dst");
  CHECK_REFUSED(cudaMemcpyAsync(x.data(), y.data(), 32, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue, "src");
  CHECK_REFUSED(cudaMemcpyAsync(x.data(), back.data(), 32, cudaMemcpyDeviceToDevice, stream), cudaErrorInvalidValue, "src");
  CHECK_REFUSED(cudaMemcpyAsync(x.data(), x.data() + 1, 8, cudaMemcpyDeviceToDevice, stream), cudaErrorInvalidValue, "overlap");
  CHECK_REFUSED(cudaMemcpyAsync(x.data(), nullptr, 8, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue, "NULL");
  CHECK_REFUSED(cudaMemcpyAsync(x.data(), values.data(), 8, static_cast<cudaMemcpyKind>(5), stream), cudaErrorInvalidMemcpyDirection, "kind is 5");
  CHECK_REFUSED(cudaMemsetAsync(back.data(), 0, 4, stream), cudaErrorInvalidValue, "is in no block");
  CHECK_REFUSED(cudaMemsetAsync(x.data() + 8, 0, 4, stream), cudaErrorInvalidValue, "0 bytes beyond the end");
}

TEST(handles_are_checked) {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  CHECK_REFUSED(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(event)), cudaErrorInvalidResourceHandle,
                "is a cudaEvent_t, expected a live cudaStream_t");
  CHECK_REFUSED(cudaEventRecord(reinterpret_cast<cudaEvent_t>(stream), stream), cudaErrorInvalidResourceHandle, "is a cudaStream_t");
  CHECK_REFUSED(cudaEventSynchronize(nullptr), cudaErrorInvalidResourceHandle, "NULL");
  int local = 0;
  CHECK_REFUSED(cudaStreamDestroy(reinterpret_cast<cudaStream_t>(&local)), cudaErrorInvalidResourceHandle, "is no handle");
  CHECK_CUDA(cudaEventDestroy(event));
  CHECK_CUDA(cudaStreamDestroy(stream));
  CHECK_REFUSED(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle, "was destroyed");
  CHECK_REFUSED(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle, "was destroyed");
  CHECK_REFUSED(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle, "was destroyed");
  CHECK(gatun::simt::submit(stream, [] {}) == cudaErrorInvalidResourceHandle, "work for a destroyed stream");
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle, "as a launch leaves it behind");
  CHECK_REFUSED(cudaGraphLaunch(nullptr, nullptr), cudaErrorInvalidValue, "NULL");
  CHECK_REFUSED(cudaStreamCreateWithFlags(&stream, 2), cudaErrorInvalidValue, "flags are 2");
}

TEST(pinned_memory_is_read_when_the_copy_runs) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  const Pinned staging(1);
  staging[0] = 1;
  CHECK_CUDA(cudaMemcpyAsync(x.data(), staging.data(), 4, cudaMemcpyHostToDevice, stream));
  staging[0] = 2;  // too early
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(x.read()[0] == (deferred() ? 2 : 1), "%g", x.read()[0]);
  // The right way: wait for an event behind the copy.
  const TestEvent copied(cudaEventDisableTiming);
  CHECK_CUDA(cudaMemcpyAsync(x.data(), staging.data(), 4, cudaMemcpyHostToDevice, stream));
  CHECK_CUDA(cudaEventRecord(copied, stream));
  CHECK_CUDA(cudaEventSynchronize(copied));
  staging[0] = 3;
  CHECK(x.read()[0] == 2, "%g", x.read()[0]);
  // To pinned memory nothing has arrived before somebody waits.
  CHECK_CUDA(cudaMemcpyAsync(staging.data(), x.data(), 4, cudaMemcpyDeviceToHost, stream));
  CHECK(staging[0] == (deferred() ? 3 : 2), "%g", staging[0]);
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(staging[0] == 2, "%g", staging[0]);
}

TEST(streams_wait_only_for_what_they_are_told) {
  const TestStream copies, compute;
  const TestEvent ready(cudaEventDisableTiming);
  const Pinned staging(1);
  staging[0] = 5;
  const DeviceArray<float> x(1), forgotten(1), waited(1);
  CHECK_CUDA(cudaMemcpyAsync(x.data(), staging.data(), 4, cudaMemcpyHostToDevice, copies));
  CHECK_CUDA(cudaEventRecord(ready, copies));
  CHECK_CUDA(cudaMemcpyAsync(forgotten.data(), x.data(), 4, cudaMemcpyDeviceToDevice, compute));
  CHECK_CUDA(cudaStreamWaitEvent(compute, ready, 0));
  CHECK_CUDA(cudaMemcpyAsync(waited.data(), x.data(), 4, cudaMemcpyDeviceToDevice, compute));
  CHECK_CUDA(cudaStreamSynchronize(compute));
  CHECK(waited.read()[0] == 5, "%g", waited.read()[0]);
  CHECK(std::isnan(forgotten.read()[0]) == deferred(), "%g", forgotten.read()[0]);
  // An event that was never recorded is waited for by nobody.
  const TestEvent never;
  CHECK_CUDA(cudaStreamWaitEvent(compute, never, 0));
  CHECK_CUDA(cudaEventSynchronize(never));
  CHECK_CUDA(cudaEventQuery(never));
}

TEST(null_stream_and_blocking_streams_wait_for_each_other) {
  const TestStream blocking(cudaStreamDefault);
  const DeviceArray<float> x(1), y(1);
  CHECK_CUDA(cudaMemsetAsync(x.data(), 0, 4, blocking));
  CHECK_CUDA(cudaMemcpyAsync(y.data(), x.data(), 4, cudaMemcpyDeviceToDevice, nullptr));
  CHECK_CUDA(cudaMemsetAsync(x.data(), 0xff, 4, blocking));
  CHECK_CUDA(cudaStreamSynchronize(blocking));
  CHECK(y.read()[0] == 0, "%g", y.read()[0]);
  CHECK(std::isnan(x.read()[0]), "%g", x.read()[0]);
}

TEST(events_happen_in_order_and_are_timed) {
  const TestStream stream;
  const TestEvent start, end;
  const TestEvent untimed(cudaEventDisableTiming);
  float ms = -1;
  CHECK_REFUSED(cudaEventElapsedTime(&ms, start, end), cudaErrorInvalidResourceHandle, "never recorded");
  int ran = 0;
  CHECK_CUDA(cudaEventRecord(start, stream));
  for (int i = 0; i < 3; ++i) {
    gatun::simt::submit(stream, [&ran, i] {
      CHECK(ran == i, "work %d ran as number %d", i, ran);
      ++ran;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    });
  }
  CHECK_CUDA(cudaEventRecord(end, stream));
  CHECK_CUDA(cudaEventRecord(untimed, stream));
  CHECK(ran == (deferred() ? 0 : 3), "%d ran", ran);
  if (deferred()) {
    CHECK_REFUSED(cudaEventElapsedTime(&ms, start, end), cudaErrorNotReady, "has not happened");
    CHECK_REFUSED(cudaEventQuery(end), cudaErrorNotReady, "not happened");
    int queries = 1;
    while (cudaEventQuery(end) == cudaErrorNotReady) ++queries;
    CHECK(queries == 5, "%d queries, expected one per piece of work", queries);
    CHECK(cudaGetLastError() == cudaErrorNotReady, "left behind, as on a GPU");
  }
  CHECK_CUDA(cudaEventSynchronize(end));
  CHECK(ran == 3, "%d ran", ran);
  CHECK_CUDA(cudaEventElapsedTime(&ms, start, end));
  CHECK(ms >= 6 && ms < 10000, "%g ms, expected 3 times 2 and a bit", ms);
  CHECK_REFUSED(cudaEventElapsedTime(&ms, start, untimed), cudaErrorInvalidResourceHandle, "has no timing");
}

TEST(full_queues_run) {
  const TestStream stream;
  int ran = 0;
  for (int i = 0; i < 5000; ++i) gatun::simt::submit(stream, [&ran] { ++ran; });
  CHECK(ran >= 5000 - 1024, "%d ran", ran);
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(ran == 5000, "%d ran", ran);
}

TEST(streams_of_many_threads) {
  // Each thread fills its own buffer through its own stream, then sums over the copies.
  std::vector<std::thread> threads;
  std::vector<float> sums(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &sums] {
      const TestStream stream;
      const DeviceArray<float> x(64);
      std::vector<float> host(64);
      for (int round = 1; round <= 50; ++round) {
        for (float &value : host) value = static_cast<float>(t * 1000 + round);
        CHECK_CUDA(cudaMemcpyAsync(x.data(), host.data(), 256, cudaMemcpyHostToDevice, stream));
        CHECK_CUDA(cudaMemcpyAsync(host.data(), x.data(), 256, cudaMemcpyDeviceToHost, stream));
        sums[static_cast<size_t>(t)] += host[63];
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  for (int t = 0; t < 4; ++t)
    CHECK(sums[static_cast<size_t>(t)] == static_cast<float>(t * 50000 + 1275), "thread %d: %g", t, sums[static_cast<size_t>(t)]);
}

TEST(failures_stick_and_surface_where_somebody_waits) {
  cudaStream_t stream = nullptr;
  void *x = nullptr;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK_CUDA(cudaMalloc(&x, 4));
  bool ran = false;
  const int first = gatun::simt::submit(stream, [] { gatun::simt::fail(cudaErrorLaunchFailure, "rmsnorm: lane 7 waits for nobody"); });
  CHECK(first == (deferred() ? 0 : 719), "submit() returns %d", first);
  gatun::simt::submit(stream, [&ran] { ran = true; });
  const cudaError_t error = cudaStreamSynchronize(stream);
  CHECK(error == cudaErrorLaunchFailure, "%s", cudaGetErrorName(error));
  CHECK(std::strstr(cudaGetErrorString(error), "unspecified launch failure: rmsnorm: lane 7 waits for nobody") != nullptr, "%s",
        cudaGetErrorString(error));
  CHECK(!ran, "work ran on a failed device");
  gatun::simt::fail(cudaErrorIllegalAddress, "a later one");
  void *p = nullptr;
  for (int i = 0; i < 2; ++i) {
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure, "not sticky");
    CHECK(cudaMalloc(&p, 4) == cudaErrorLaunchFailure, "not sticky");
    CHECK(cudaMemsetAsync(x, 0, 4, stream) == cudaErrorLaunchFailure, "not sticky");
  }
  CHECK(gatun::simt::last_error_text() == "rmsnorm: lane 7 waits for nobody", "%s", gatun::simt::last_error_text().c_str());
  CHECK_CUDA(cudaDeviceReset());
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK_REFUSED(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle, "was destroyed");
}

TEST(work_that_throws_fails_the_device) {
  gatun::simt::submit(nullptr, [] { throw std::bad_alloc(); });
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure, "not failed");
  CHECK_CUDA(cudaDeviceReset());
}

TEST(graphs_replay) {
  const TestStream stream;
  const Pinned staging(1);
  const DeviceArray<float> x(1), y(1);
  int runs = 0;
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_CUDA(cudaMemcpyAsync(x.data(), staging.data(), 4, cudaMemcpyHostToDevice, stream));
  gatun::simt::submit(stream, [&] {
    ++runs;
    *y.data() = 2 * *x.data();
  });
  const TestEvent inside(cudaEventDisableTiming);
  CHECK_CUDA(cudaEventRecord(inside, stream));
  CHECK_CUDA(cudaStreamWaitEvent(stream, inside, 0));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK(runs == 0, "the capture ran");
  for (int i = 1; i <= 3; ++i) {
    staging[0] = static_cast<float>(i);
    CHECK_CUDA(cudaGraphLaunch(exec, stream));
    CHECK_CUDA(cudaStreamSynchronize(stream));
    CHECK(runs == i && y.read()[0] == static_cast<float>(2 * i), "%d runs, %g", runs, y.read()[0]);
  }
  CHECK(cudaEventSynchronize(inside) == cudaErrorCapturedEvent, "an event of a capture");
  CHECK(cudaGetLastError() == cudaErrorCapturedEvent, "left behind");
  CHECK_REFUSED(cudaGraphInstantiate(&exec, graph, 0), cudaErrorInvalidValue, "was destroyed");
  CHECK_CUDA(cudaGraphExecDestroy(exec));
  CHECK_REFUSED(cudaGraphLaunch(exec, stream), cudaErrorInvalidValue, "was destroyed");
}

TEST(graphs_do_not_touch_freed_memory) {
  for (const bool free_source : {false, true}) {
    cudaStream_t stream = nullptr;
    CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    void *x = nullptr, *staging = nullptr;
    CHECK_CUDA(cudaMalloc(&x, 4));
    CHECK_CUDA(cudaHostAlloc(&staging, 4, cudaHostAllocDefault));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK_CUDA(cudaMemcpyAsync(x, staging, 4, cudaMemcpyHostToDevice, stream));
    CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CHECK_CUDA(free_source ? cudaFreeHost(staging) : cudaFree(x));
    cudaGraphLaunch(exec, stream);
    CHECK(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress, "freed memory was used");
    CHECK_CUDA(cudaDeviceReset());
  }
}

TEST(captures_are_broken_by_what_cannot_be_captured) {
  const TestStream stream, other;
  const DeviceArray<float> x(1);
  float host = 1;
  const TestEvent outside(cudaEventDisableTiming), inside(cudaEventDisableTiming);
  CHECK_CUDA(cudaEventRecord(outside, other));
  void *p = nullptr;
  int value = 0;
  const struct {
    const char *what;
    cudaError_t error;
    std::function<cudaError_t()> call;
  } breakers[] = {
      {"pageable", cudaErrorStreamCaptureUnsupported, [&] { return cudaMemcpyAsync(x.data(), &host, 4, cudaMemcpyHostToDevice, stream); }},
      {"pageable", cudaErrorStreamCaptureUnsupported, [&] { return cudaMemcpyAsync(&host, x.data(), 4, cudaMemcpyDeviceToHost, stream); }},
      {"cudaMalloc", cudaErrorStreamCaptureUnsupported, [&] { return cudaMalloc(&p, 4); }},
      {"cudaFree", cudaErrorStreamCaptureUnsupported, [&] { return cudaFree(x.data()); }},
      {"cudaHostAlloc", cudaErrorStreamCaptureUnsupported, [&] { return cudaHostAlloc(&p, 4, 0); }},
      {"cudaStreamSynchronize", cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamSynchronize(stream); }},
      {"cudaDeviceSynchronize", cudaErrorStreamCaptureUnsupported, [&] { return cudaDeviceSynchronize(); }},
      {"cudaStreamDestroy", cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamDestroy(stream); }},
      {"cudaStreamSynchronize", cudaErrorStreamCaptureUnsupported, [&] { return cudaStreamSynchronize(other); }},
      {"cudaEventQuery", cudaErrorStreamCaptureUnsupported, [&] { return cudaEventQuery(outside); }},
      {"cudaEventSynchronize", cudaErrorStreamCaptureUnsupported, [&] { return cudaEventSynchronize(outside); }},
      {"outside the capture", cudaErrorStreamCaptureIsolation, [&] { return cudaStreamWaitEvent(stream, outside, 0); }},
      {"captures one stream", cudaErrorStreamCaptureUnsupported,
       [&] {
         CHECK_CUDA(cudaEventRecord(inside, stream));
         return cudaStreamWaitEvent(other, inside, 0);
       }},
      {"captured event", cudaErrorCapturedEvent,
       [&] {
         CHECK_CUDA(cudaEventRecord(inside, stream));
         const cudaError_t error = cudaEventQuery(inside);
         CHECK(error == cudaErrorCapturedEvent, "%s", cudaGetErrorName(error));
         return error;
       }},
  };
  for (const auto &breaker : breakers) {
    cudaGraph_t graph = nullptr;
    CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK_CUDA(cudaGetDevice(&value));  // harmless
    const cudaError_t error = breaker.call();
    CHECK(error == breaker.error, "%s: %s, expected %s", breaker.what, cudaGetErrorName(error), cudaGetErrorName(breaker.error));
    CHECK(cudaMemsetAsync(x.data(), 0, 4, stream) == cudaErrorStreamCaptureInvalidated, "%s: the capture goes on", breaker.what);
    const cudaError_t end = cudaStreamEndCapture(stream, &graph);
    CHECK(end == cudaErrorStreamCaptureInvalidated && graph == nullptr, "%s: %s", breaker.what, cudaGetErrorName(end));
    CHECK(std::strstr(cudaGetErrorString(end), breaker.what) != nullptr, "text \"%s\" lacks \"%s\"", cudaGetErrorString(end), breaker.what);
    CHECK_CUDA(cudaStreamSynchronize(stream));
  }
  CHECK(cudaGetLastError() != cudaSuccess, "forgotten");
}

TEST(executable_graphs_take_memory) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  const auto free_bytes = [] {
    size_t free = 0, total = 0;
    CHECK_CUDA(cudaMemGetInfo(&free, &total));
    return free;
  };
  cudaGraph_t graph = nullptr;
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  CHECK_CUDA(cudaMemsetAsync(x.data(), 0, 4, stream));
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  const size_t before = free_bytes();
  cudaGraphExec_t exec = nullptr;
  CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(free_bytes() < before, "%zu bytes free, %zu before", free_bytes(), before);
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaGraphLaunch(exec, stream));
  CHECK_CUDA(cudaGraphExecDestroy(exec));  // what is on its way still runs
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(free_bytes() == before, "%zu bytes free, %zu before", free_bytes(), before);
}

TEST(captures_begin_and_end_where_they_may) {
  const TestStream stream;
  const TestStream blocking(cudaStreamDefault);
  const DeviceArray<float> x(1);
  cudaGraph_t graph = nullptr;
  CHECK_REFUSED(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported, "NULL stream");
  CHECK_REFUSED(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState, "not capturing");
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  CHECK_REFUSED(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaErrorIllegalState, "capturing already");
  std::thread([&] {
    CHECK_REFUSED(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread, "another thread");
    void *p = nullptr;
    CHECK_CUDA(cudaMalloc(&p, 4));  // thread-local mode
    CHECK_CUDA(cudaFree(p));
  }).join();
  CHECK_CUDA(cudaMemsetAsync(x.data(), 0, 4, nullptr));  // the NULL stream and a non-blocking one do not meet
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
  CHECK_REFUSED(cudaMemsetAsync(x.data(), 0, 4, nullptr), cudaErrorStreamCaptureImplicit, "NULL stream");
  CHECK_REFUSED(cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated, "NULL stream");
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  void *p = nullptr;
  CHECK_CUDA(cudaMalloc(&p, 4));
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaFree(p));
}

// cuBLASLt.

namespace {

constexpr size_t kWorkspaceBytes = 8u << 20;

size_t size_of(cudaDataType_t type) {
  return type == CUDA_R_32F ? 4 : 2;
}

/** A matrix in device memory, between canaries of NaN, with its host copy in double. */
class Matrix {
 public:
  Matrix(cudaDataType_t type_, int64_t rows_, int64_t cols_, int64_t padding, cublasLtOrder_t order_, Random &random)
      : type(type_), rows(rows_), cols(cols_), ld((order_ == CUBLASLT_ORDER_COL ? rows_ : cols_) + padding), order(order_) {
    const int64_t runs = order == CUBLASLT_ORDER_COL ? cols : rows;
    values.resize(static_cast<size_t>(ld * runs));
    bytes.resize(values.size() * size_of(type), 0xff);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        const float x = static_cast<float>(random.uniform(-1, 1));
        const size_t at = index(i, j);
        if (type == CUDA_R_32F) {
          values[at] = x;
          std::memcpy(&bytes[at * 4], &x, 4);
        } else {
          const uint16_t half = float_to_bf16(x);
          values[at] = bf16_to_float(half);
          std::memcpy(&bytes[at * 2], &half, 2);
        }
      }
    }
    device = std::make_unique<DeviceArray<uint8_t>>(bytes);
    CHECK_LT(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld));
    const int32_t order_value = static_cast<int32_t>(order);
    if (order != CUBLASLT_ORDER_COL) CHECK_LT(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &order_value, 4));
  }
  ~Matrix() { CHECK_LT(cublasLtMatrixLayoutDestroy(layout)); }
  Matrix(const Matrix &) = delete;
  Matrix &operator=(const Matrix &) = delete;

  size_t index(int64_t i, int64_t j) const { return static_cast<size_t>(order == CUBLASLT_ORDER_COL ? i + j * ld : i * ld + j); }
  double at(int64_t i, int64_t j) const { return values[index(i, j)]; }
  void *data() const { return device->data(); }

  /** What the device holds now; padding must still be 0xff. */
  std::vector<double> read() const {
    const std::vector<uint8_t> now = device->read();
    std::vector<double> result(static_cast<size_t>(rows * cols));
    std::vector<bool> inside(values.size());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        const size_t from = index(i, j), to = static_cast<size_t>(i + j * rows);
        inside[from] = true;
        if (type == CUDA_R_32F) {
          float x;
          std::memcpy(&x, &now[from * 4], 4);
          result[to] = x;
        } else {
          uint16_t half;
          std::memcpy(&half, &now[from * 2], 2);
          result[to] = bf16_to_float(half);
        }
      }
    }
    for (size_t i = 0; i < now.size(); ++i) CHECK(inside[i / size_of(type)] || now[i] == 0xff, "padding was written at byte %zu", i);
    return result;
  }

  cudaDataType_t type;
  int64_t rows, cols, ld;
  cublasLtOrder_t order;
  std::vector<double> values;
  std::vector<uint8_t> bytes;
  std::unique_ptr<DeviceArray<uint8_t>> device;
  cublasLtMatrixLayout_t layout = nullptr;
};

struct Form {
  int64_t m, n, k;
  cudaDataType_t type = CUDA_R_32F;    // of A and B
  cudaDataType_t result = CUDA_R_32F;  // of C and D
  bool transa = false, transb = false, bias = false;
  float alpha = 1, beta = 0;
  bool in_place = true;  // C is D
  int64_t padding = 0;
  cublasLtOrder_t order_a = CUBLASLT_ORDER_COL, order_b = CUBLASLT_ORDER_COL, order_d = CUBLASLT_ORDER_COL;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
};

/** A product with all that it needs; run() calls cublasLtMatmul. */
struct Product {
  explicit Product(const Form &form_, uint64_t seed = 1) : form(form_), random(seed) {
    a = std::make_unique<Matrix>(form.type, form.transa ? form.k : form.m, form.transa ? form.m : form.k, form.padding, form.order_a, random);
    b = std::make_unique<Matrix>(form.type, form.transb ? form.n : form.k, form.transb ? form.k : form.n, form.padding, form.order_b, random);
    c = std::make_unique<Matrix>(form.result, form.m, form.n, form.padding, form.order_d, random);
    if (!form.in_place) d = std::make_unique<Matrix>(form.result, form.m, form.n, form.padding, form.order_d, random);
    bias = std::make_unique<Matrix>(form.result, form.m, 1, 0, CUBLASLT_ORDER_COL, random);
    CHECK_LT(cublasLtCreate(&handle));
    CHECK_LT(cublasLtMatmulDescCreate(&desc, form.compute, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(form.transa ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(form.transb ? CUBLAS_OP_T : CUBLAS_OP_N));
    if (form.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_BIAS));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias->data());
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(form.result));
    }
    CHECK_LT(cublasLtMatmulPreferenceCreate(&preference));
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  }
  ~Product() {
    CHECK_LT(cublasLtMatmulPreferenceDestroy(preference));
    CHECK_LT(cublasLtMatmulDescDestroy(desc));
    CHECK_LT(cublasLtDestroy(handle));
  }
  Product(const Product &) = delete;
  Product &operator=(const Product &) = delete;

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    CHECK_LT(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value));
  }
  template <class T>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    CHECK_LT(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
  }
  Matrix &result() const { return form.in_place ? *c : *d; }

  cublasStatus_t choose(std::vector<cublasLtMatmulHeuristicResult_t> *found, int asked = 16) {
    int count = -1;
    found->resize(static_cast<size_t>(asked));
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, desc, a->layout, b->layout, c->layout, result().layout, preference, asked, found->data(), &count);
    found->resize(static_cast<size_t>(count));
    return status;
  }
  std::vector<cublasLtMatmulHeuristicResult_t> choices() {
    std::vector<cublasLtMatmulHeuristicResult_t> found;
    CHECK_LT(choose(&found));
    return found;
  }
  cublasStatus_t run(const cublasLtMatmulAlgo_t *algo, size_t workspace_bytes = kWorkspaceBytes) {
    return cublasLtMatmul(handle, desc, &form.alpha, a->data(), a->layout, b->data(), b->layout, &form.beta, c->data(), c->layout, result().data(),
                          result().layout, algo, workspace.data(), workspace_bytes, stream);
  }

  /** Runs every algorithm of the heuristic from the same start, and holds it to sums in double. */
  void check() {
    const std::vector<cublasLtMatmulHeuristicResult_t> found = choices();
    CHECK(!found.empty(), "no algorithm");
    for (const cublasLtMatmulHeuristicResult_t &choice : found) {
      CHECK(choice.state == CUBLAS_STATUS_SUCCESS && choice.workspaceSize <= kWorkspaceBytes && choice.wavesCount > 0, "result of the heuristic");
      CHECK_CUDA(cudaMemcpyAsync(c->data(), c->bytes.data(), c->bytes.size(), cudaMemcpyHostToDevice, stream));
      CHECK_LT(run(&choice.algo, choice.workspaceSize));
      CHECK_CUDA(cudaStreamSynchronize(stream));
      const std::vector<double> got = result().read();
      for (int64_t j = 0; j < form.n; ++j) {
        for (int64_t i = 0; i < form.m; ++i) {
          double sum = 0, magnitude = 0;
          for (int64_t l = 0; l < form.k; ++l) {
            const double term = (form.transa ? a->at(l, i) : a->at(i, l)) * (form.transb ? b->at(j, l) : b->at(l, j));
            sum += term;
            magnitude += std::abs(term);
          }
          double want = form.alpha * sum;
          double size = std::abs(form.alpha) * magnitude;
          if (form.beta != 0) {
            want += form.beta * c->at(i, j);
            size += std::abs(form.beta * c->at(i, j));
          }
          if (form.bias) {
            want += bias->at(i, 0);
            size += std::abs(bias->at(i, 0));
          }
          // k + 3 roundings to f32 of sums that stay below the sum of magnitudes; each TF32 operand is off by 2^-11 of itself; bf16: one
          // rounding of the result by 2^-8 of itself, or, where partial sums are kept in bf16, five.
          double allowed = 1e-30 + size * static_cast<double>(form.k + 3) * 0x1p-24;
          if (form.compute == CUBLAS_COMPUTE_32F_FAST_TF32) allowed += size * 0x1.01p-10;
          if (form.result == CUDA_R_16BF) allowed += std::abs(want) * 0x1.01p-8 + (choice.workspaceSize > 0 ? 5 * size * 0x1.01p-8 : 0);
          const double value = got[static_cast<size_t>(i + j * form.m)];
          CHECK(std::abs(value - want) <= allowed, "m=%lld n=%lld k=%lld: (%lld, %lld) is %.9g, expected %.9g +- %.3g",
                static_cast<long long>(form.m), static_cast<long long>(form.n), static_cast<long long>(form.k), static_cast<long long>(i),
                static_cast<long long>(j), value, want, allowed);
        }
      }
    }
  }

  Form form;
  Random random;
  std::unique_ptr<Matrix> a, b, c, d, bias;
  DeviceArray<uint8_t> workspace{kWorkspaceBytes};
  TestStream stream;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
};

}  // namespace

TEST(matmul_forms) {
  const int64_t extents[][3] = {{1, 1, 1}, {16, 6, 8}, {17, 7, 13}, {5, 31, 64}, {64, 48, 129}};
  uint64_t seed = 1;
  for (const auto &[m, n, k] : extents) {
    for (int bits = 0; bits < 16; ++bits) {
      for (const auto &[type, result] : {std::pair{CUDA_R_32F, CUDA_R_32F}, {CUDA_R_16BF, CUDA_R_16BF}, {CUDA_R_16BF, CUDA_R_32F}}) {
        Form form{m, n, k};
        form.type = type;
        form.result = result;
        form.transa = bits & 1;
        form.transb = bits & 2;
        form.bias = bits & 4;
        form.in_place = bits & 8;
        form.alpha = bits & 2 ? 0.5f : 1;
        form.beta = bits & 1 ? -1.5f : bits & 8 ? 1 : 0;
        form.padding = bits & 4 ? 3 : 0;
        Product(form, seed++).check();
      }
    }
  }
}

TEST(matmul_row_order) {
  for (int bits = 0; bits < 32; ++bits) {
    Form form{19, 9, 21};
    form.order_a = bits & 1 ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL;
    form.order_b = bits & 2 ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL;
    form.order_d = bits & 4 ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL;
    form.transa = bits & 8;
    form.transb = bits & 16;
    form.padding = 2;
    form.beta = 1;
    Product(form, 100 + static_cast<uint64_t>(bits)).check();
  }
}

TEST(matmul_tf32) {
  Form form{33, 18, 40};
  form.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  Product product(form);
  product.check();
  // It must differ from f32: 1 + 2^-12 is 1 in TF32, 1 + 2^-11 a tie, which goes away from zero to 1 + 2^-10.
  Form one{1, 1, 1};
  one.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  for (const auto &[x, want] : {std::pair{1 + 0x1p-12f, 1.0f}, {1 + 0x1p-11f, 1 + 0x1p-10f}, {-1 - 0x1p-11f, -1 - 0x1p-10f}}) {
    Product single(one);
    const float unit = 1;
    CHECK_CUDA(cudaMemcpyAsync(single.a->data(), &x, 4, cudaMemcpyHostToDevice, single.stream));
    CHECK_CUDA(cudaMemcpyAsync(single.b->data(), &unit, 4, cudaMemcpyHostToDevice, single.stream));
    CHECK_LT(single.run(nullptr));
    CHECK_CUDA(cudaStreamSynchronize(single.stream));
    CHECK(single.c->read()[0] == want, "%.9g, expected %.9g", single.c->read()[0], static_cast<double>(want));
  }
}

TEST(matmul_large_and_with_any_number_of_threads) {
  Form form{257, 130, 300};
  form.type = form.result = CUDA_R_16BF;
  form.bias = true;
  Product(form).check();
  const int before = omp_get_max_threads();
  std::vector<double> first;
  for (int threads = 1; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    Product product(form);
    CHECK_LT(product.run(nullptr));
    CHECK_CUDA(cudaStreamSynchronize(product.stream));
    if (threads == 1) first = product.c->read();
    CHECK(product.c->read() == first, "%d threads differ from 1", threads);
  }
  omp_set_num_threads(before);
}

TEST(matmul_beta_zero_reads_no_c) {
  Form form{8, 8, 8};
  Product product(form);
  CHECK_CUDA(cudaMemsetAsync(product.c->data(), 0xff, product.c->bytes.size(), product.stream));
  CHECK_LT(product.run(nullptr));
  CHECK_CUDA(cudaStreamSynchronize(product.stream));
  for (const double x : product.c->read()) CHECK(!std::isnan(x), "NaN of C came through");
}

TEST(heuristic_honours_the_preference) {
  Form form{64, 64, 64};
  form.type = form.result = CUDA_R_16BF;
  Product product(form);
  const std::vector<cublasLtMatmulHeuristicResult_t> all = product.choices();
  CHECK(all.size() >= 4, "%zu choices", all.size());
  for (size_t i = 1; i < all.size(); ++i) CHECK(all[i].wavesCount != all[i - 1].wavesCount, "alike");
  std::vector<cublasLtMatmulHeuristicResult_t> found;
  CHECK_LT(product.choose(&found, 2));
  CHECK(found.size() == 2, "%zu choices of 2 asked for", found.size());
  product.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const std::vector<cublasLtMatmulHeuristicResult_t> exact = product.choices();
  CHECK(exact.size() < all.size(), "the mask forbids nothing");
  product.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{0});
  for (const auto &choice : product.choices()) CHECK(choice.workspaceSize == 0, "%zu bytes of workspace", choice.workspaceSize);
  const size_t aligned = product.choices().size();
  product.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t{2});
  const size_t unaligned = product.choices().size();
  CHECK(unaligned >= 1 && unaligned < aligned, "%zu choices, %zu when aligned", unaligned, aligned);
  product.prefer(CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT, 1e-6f);
  CHECK_LT_REFUSED(product.choose(&found), CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm meets the preference");
  CHECK(found.empty(), "results in spite of the status");
  CHECK_LT_REFUSED(product.choose(&found, 0), CUBLAS_STATUS_INVALID_VALUE, "requestedAlgoCount is 0");
}

TEST(algos_belong_to_their_problem) {
  Form form{32, 32, 32};
  Product product(form);
  Form wider = form;
  wider.n = 40;
  Product other(wider);
  const cublasLtMatmulHeuristicResult_t choice = product.choices()[0];
  CHECK(choice.workspaceSize > 0, "the first choice has a workspace");
  CHECK_LT_REFUSED(other.run(&choice.algo), CUBLAS_STATUS_INVALID_VALUE, "chosen for another");
  product.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(CUBLAS_OP_T));  // square: the shapes still fit
  CHECK_LT_REFUSED(product.run(&choice.algo), CUBLAS_STATUS_INVALID_VALUE, "chosen for another");
  product.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(CUBLAS_OP_N));
  CHECK_LT_REFUSED(product.run(&choice.algo, choice.workspaceSize - 1), CUBLAS_STATUS_INVALID_VALUE, "workspaceSizeInBytes");
  cublasLtMatmulAlgo_t changed = choice.algo;
  changed.data[1] ^= 1;
  CHECK_LT_REFUSED(product.run(&changed), CUBLAS_STATUS_INVALID_VALUE, "not one that");
  changed = {};
  CHECK_LT_REFUSED(product.run(&changed), CUBLAS_STATUS_INVALID_VALUE, "not one that");
  CHECK_LT(product.run(&choice.algo, choice.workspaceSize));
}

TEST(matmul_pointers_are_checked) {
  Form form{16, 16, 16};
  form.in_place = false;
  form.bias = true;
  Product x(form);
  const float one = 1, zero = 0;
  const auto run = [&](const void *alpha, const void *a, const void *c, void *d, void *workspace, size_t bytes, const cublasLtMatmulAlgo_t *algo) {
    return cublasLtMatmul(x.handle, x.desc, alpha, a, x.a->layout, x.b->data(), x.b->layout, &zero, c, x.c->layout, d, x.d->layout, algo, workspace,
                          bytes, x.stream);
  };
  void *const a = x.a->data(), *const b = x.b->data(), *const c = x.c->data(), *const d = x.d->data(), *const w = x.workspace.data();
  const size_t bytes = kWorkspaceBytes;
  CHECK_LT(run(&one, a, c, d, w, bytes, nullptr));
  CHECK_LT(run(&one, a, d, d, nullptr, 0, nullptr));
  std::vector<float> host(256);
  CHECK_LT_REFUSED(run(&one, host.data(), c, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "A = ");
  CHECK_LT_REFUSED(run(&one, a, nullptr, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "C = ");
  CHECK_LT_REFUSED(run(&one, a, c, host.data(), w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "D = ");
  CHECK_LT_REFUSED(run(&one, a, c, static_cast<char *>(d) + 4, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "leaves it by 4 bytes");
  CHECK_LT_REFUSED(run(&one, a, c, b, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "D overlaps B");
  CHECK_LT_REFUSED(run(&one, w, c, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "workspace overlaps A");
  CHECK_LT_REFUSED(run(&one, a, c, d, host.data(), bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "workspace = ");
  CHECK_LT_REFUSED(run(&one, a, c, d, static_cast<char *>(w) + 16, bytes - 16, nullptr), CUBLAS_STATUS_INVALID_VALUE, "not aligned to 256 bytes");
  CHECK_LT_REFUSED(run(nullptr, a, c, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "alpha is NULL");
  CHECK_LT_REFUSED(run(a, a, c, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "alpha = ");
  // Alignment as promised to the heuristic, 256 bytes unless said otherwise.
  const cublasLtMatmulAlgo_t algo = x.choices()[0].algo;
  char *const shifted = static_cast<char *>(w) + (1 << 20) + 16;
  CHECK_LT_REFUSED(run(&one, shifted, c, d, nullptr, 0, &algo), CUBLAS_STATUS_INVALID_VALUE, "A = ");
  CHECK_LT_REFUSED(run(&one, shifted, c, d, nullptr, 0, &algo), CUBLAS_STATUS_INVALID_VALUE, "MIN_ALIGNMENT_A_BYTES");
  CHECK_LT_REFUSED(run(&one, shifted + 2, c, d, nullptr, 0, nullptr), CUBLAS_STATUS_INVALID_VALUE, "elements of 4 bytes");
  x.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void *>(nullptr));
  CHECK_LT_REFUSED(run(&one, a, c, d, w, bytes, nullptr), CUBLAS_STATUS_INVALID_VALUE, "bias = ");
}

TEST(matmul_slices_of_one_buffer) {
  // D is rows 8..15 of a buffer with 16 rows, A its rows 0..7: they lie between each other, but share nothing. Rows 4..11 would.
  Form form{8, 8, 8};
  Product x(form);
  const DeviceArray<float> buffer(std::vector<float>(16 * 8, 1));
  cublasLtMatrixLayout_t slice = nullptr;
  CHECK_LT(cublasLtMatrixLayoutCreate(&slice, CUDA_R_32F, 8, 8, 16));
  const float one = 1, zero = 0;
  const auto run = [&](int64_t offset) {
    return cublasLtMatmul(x.handle, x.desc, &one, buffer.data(), slice, x.b->data(), x.b->layout, &zero, buffer.data() + offset, slice,
                          buffer.data() + offset, slice, nullptr, nullptr, 0, x.stream);
  };
  CHECK_LT(run(8));
  CHECK_LT_REFUSED(run(4), CUBLAS_STATUS_INVALID_VALUE, "D overlaps A");
  CHECK_LT(cublasLtMatrixLayoutDestroy(slice));
}

TEST(matmul_descriptors_are_checked) {
  Form form{16, 12, 8};
  Product x(form);
  const int32_t two = 2, device_mode = 1;
  const int64_t narrow = 4;
  std::vector<cublasLtMatmulHeuristicResult_t> found;
  CHECK_LT_REFUSED(cublasLtMatrixLayoutSetAttribute(x.a->layout, CUBLASLT_MATRIX_LAYOUT_LD, &two, 4), CUBLAS_STATUS_INVALID_VALUE,
                   "sizeInBytes is 4, expected 8");
  CHECK_LT_REFUSED(cublasLtMatmulDescSetAttribute(x.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, nullptr, 8), CUBLAS_STATUS_INVALID_VALUE, "buf is NULL");
  CHECK_LT_REFUSED(cublasLtMatmulDescSetAttribute(x.desc, static_cast<cublasLtMatmulDescAttributes_t>(17), &narrow, 8), CUBLAS_STATUS_NOT_SUPPORTED,
                   "attribute 17");
  const uint32_t three = 3;
  CHECK_LT_REFUSED(cublasLtMatmulPreferenceSetAttribute(x.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &three, 4),
                   CUBLAS_STATUS_INVALID_VALUE, "power of two");
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(x.a->layout, CUBLASLT_MATRIX_LAYOUT_LD, &narrow, 8));
  CHECK_LT_REFUSED(x.choose(&found), CUBLAS_STATUS_INVALID_VALUE, "expected ld of at least 16");
  const int64_t wide = 16;
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(x.a->layout, CUBLASLT_MATRIX_LAYOUT_LD, &wide, 8));
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(x.a->layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &two, 4));
  CHECK_LT_REFUSED(x.choose(&found), CUBLAS_STATUS_NOT_SUPPORTED, "batch count 2");
  const int32_t single = 1;
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(x.a->layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &single, 4));
  x.set(CUBLASLT_MATMUL_DESC_POINTER_MODE, device_mode);
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_NOT_SUPPORTED, "pointer mode is 1");
  x.set(CUBLASLT_MATMUL_DESC_POINTER_MODE, int32_t{0});
  x.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t{32});
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_NOT_SUPPORTED, "epilogue is 32");
  x.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t{4});
  x.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(CUDA_R_16BF));
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_NOT_SUPPORTED, "bias type is 14");
  x.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t{1});
  x.set(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, int32_t{64});
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_NOT_SUPPORTED, "compute type is 64");
  x.set(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, int32_t{68});
  x.set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{1});
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_INVALID_VALUE, "inner extents are 16 and 8");
  x.set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{0});
  const uint32_t half = CUDA_R_16BF;
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(x.c->layout, CUBLASLT_MATRIX_LAYOUT_TYPE, &half, 4));
  CHECK_LT_REFUSED(x.run(nullptr), CUBLAS_STATUS_NOT_SUPPORTED, "types of A, B, C, D are 0, 0, 14, 14");

  cublasLtHandle_t handle = nullptr;
  CHECK_LT(cublasLtCreate(&handle));
  CHECK_LT(cublasLtDestroy(handle));
  CHECK_LT_REFUSED(cublasLtDestroy(handle), CUBLAS_STATUS_NOT_INITIALIZED, "was destroyed");
  CHECK_LT_REFUSED(cublasLtMatmulDescDestroy(reinterpret_cast<cublasLtMatmulDesc_t>(x.preference)), CUBLAS_STATUS_INVALID_VALUE,
                   "is a cublasLtMatmulPreference_t");
  CHECK_LT_REFUSED(cublasLtMatrixLayoutDestroy(nullptr), CUBLAS_STATUS_INVALID_VALUE, "NULL");
  CHECK(cublasLtGetVersion() >= 130000, "%zu", cublasLtGetVersion());
  CHECK(std::string(cublasLtGetStatusName(CUBLAS_STATUS_EXECUTION_FAILED)) == "CUBLAS_STATUS_EXECUTION_FAILED", "name");
}

TEST(matmul_in_graphs) {
  Form form{24, 16, 32};
  Product x(form);
  const std::vector<cublasLtMatmulHeuristicResult_t> found = x.choices();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  CHECK_CUDA(cudaStreamBeginCapture(x.stream, cudaStreamCaptureModeGlobal));
  CHECK_LT(x.run(&found[0].algo));
  CHECK_CUDA(cudaStreamEndCapture(x.stream, &graph));
  CHECK_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  CHECK_CUDA(cudaMemsetAsync(x.c->data(), 0xff, x.c->bytes.size(), x.stream));
  CHECK_CUDA(cudaGraphLaunch(exec, x.stream));
  CHECK_CUDA(cudaStreamSynchronize(x.stream));
  const std::vector<double> replayed = x.c->read();
  CHECK_LT(x.run(&found[0].algo));
  CHECK_CUDA(cudaStreamSynchronize(x.stream));
  CHECK(replayed == x.c->read(), "the graph computes something else");
  CHECK(x.workspace.read()[0] == 0xff, "the workspace is as it was");
  CHECK_CUDA(cudaGraphExecDestroy(exec));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_LT_REFUSED(cublasLtMatmul(x.handle, x.desc, &x.form.alpha, x.a->data(), x.a->layout, x.b->data(), x.b->layout, &x.form.beta, x.c->data(),
                                  x.c->layout, x.c->data(), x.c->layout, nullptr, nullptr, 0, reinterpret_cast<cudaStream_t>(x.handle)),
                   CUBLAS_STATUS_EXECUTION_FAILED, "cudaErrorInvalidResourceHandle");
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle, "left behind");
}
