/*
 * testing.h: as much of a test framework as these tests need.
 *
 *   TEST(name) { ... CHECK(condition, "format", ...); }
 *
 * on_every_table() runs a row on each instruction set that this CPU has, with 1 to 4 threads, and holds all runs of one instruction set to
 * the bits of the first. Compiled with GATUN_TEST_SIMT, the same tests run the emulated CUDA kernels instead, whose memory is the host's.
 */
#ifndef GATUN_TESTING_H
#define GATUN_TESTING_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#if defined(GATUN_TEST_SIMT)
#include "gatun_device.h"
#else
#include "gatun_cpu.h"
#endif

namespace gatun::testing {

struct Test {
  const char *name;
  void (*body)();
};
inline std::vector<Test> &all_tests() {
  static std::vector<Test> tests;
  return tests;
}
struct Registration {
  Registration(const char *name, void (*body)()) { all_tests().push_back({name, body}); }
};

/** Failed checks of the running test. */
inline int &failures() {
  static int count = 0;
  return count;
}

#define TEST(name)                                                    \
  static void name();                                                 \
  static const gatun::testing::Registration name##_test(#name, name); \
  static void name()

#define CHECK(condition, ...)                                                       \
  do {                                                                              \
    if (!(condition) && gatun::testing::failures()++ < 20) {                        \
      std::fprintf(stderr, "%s:%d: %s is false: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                            \
      std::fprintf(stderr, "\n");                                                   \
    }                                                                               \
  } while (false)

/** SplitMix64 (Steele, Lea, Flood 2014). Seeds are constants of the tests. */
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53; }
  int32_t below(int64_t bound) { return static_cast<int32_t>(bits() % static_cast<uint64_t>(bound)); }

 private:
  uint64_t state_;
};

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline float bf16_to_float(uint16_t bits) {
  return bits_as<float>(static_cast<uint32_t>(bits) << 16);
}
/** Nearest, ties to even, by comparing distances: not the way the kernels do it. */
inline uint16_t float_to_bf16(float x) {
  if (x != x) return static_cast<uint16_t>((bits_as<uint32_t>(x) >> 16) | 0x40);
  const uint32_t bits = bits_as<uint32_t>(x);
  const uint32_t rest = bits & 0xffff;
  uint32_t upper = bits >> 16;
  if (rest > 0x8000 || (rest == 0x8000 && upper % 2 == 1)) ++upper;
  return static_cast<uint16_t>(upper);
}

/** Elements of a gatun_dtype, 64-byte aligned, between canaries. */
class Array {
 public:
  Array(int32_t dtype, int64_t count) : dtype_(dtype), count_(count) {
    bytes_.assign(kCanary + size() + kCanary + 64, 0);
    std::memset(bytes_.data() + offset(), 0xa5, kCanary);
    std::memset(bytes_.data() + offset() + kCanary + size(), 0xa5, kCanary);
    for (int64_t i = 0; i < count; ++i) set(i, -77);  // nothing may depend on what an output held
  }
  Array(int32_t dtype, int64_t count, Random &random, double low = -2, double high = 2) : Array(dtype, count) {
    for (int64_t i = 0; i < count; ++i) set(i, random.uniform(low, high));
  }
  Array(const Array &other) : Array(other.dtype_, other.count_) { std::memcpy(data(), other.data(), size()); }
  Array &operator=(const Array &) = delete;

  int64_t count() const { return count_; }
  size_t size() const { return static_cast<size_t>(count_) * (dtype_ == GATUN_F32 ? 4 : 2); }
  void *data() { return bytes_.data() + offset() + kCanary; }
  const void *data() const { return bytes_.data() + offset() + kCanary; }
  float *floats() { return static_cast<float *>(data()); }
  uint16_t *halves() { return static_cast<uint16_t *>(data()); }

  double get(int64_t i) const {
    if (dtype_ == GATUN_F32) return static_cast<const float *>(data())[i];
    return bf16_to_float(static_cast<const uint16_t *>(data())[i]);
  }
  double operator[](int64_t i) const { return get(i); }
  void set(int64_t i, double value) {
    if (dtype_ == GATUN_F32) {
      floats()[i] = static_cast<float>(value);
    } else {
      halves()[i] = float_to_bf16(static_cast<float>(value));
    }
  }
  void fill(double value) {
    for (int64_t i = 0; i < count_; ++i) set(i, value);
  }
  bool same_bits(const Array &other) const { return size() == other.size() && std::memcmp(data(), other.data(), size()) == 0; }
  bool intact() const {
    for (size_t i = 0; i < kCanary; ++i) {
      if (bytes_[offset() + i] != 0xa5 || bytes_[offset() + kCanary + size() + i] != 0xa5) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kCanary = 64;
  size_t offset() const { return (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64; }

  int32_t dtype_;
  int64_t count_;
  std::vector<uint8_t> bytes_;
};

/**
 * Largest difference allowed from the double reference. Kernels compute in f32: a few roundings of 2^-24 each, and sums over at most a
 * few thousand terms whose roundings grow as the square root of their number, 2^-24 * 64 = 2^-18. Storing as bf16 rounds by 2^-9.
 */
inline double tolerance(int32_t dtype, double magnitude) {
  return 1e-30 + magnitude * (dtype == GATUN_F32 ? 0x1p-18 : 0x1p-8);
}

#define CHECK_NEAR(got, want, allowed, what, index)                                                                                        \
  do {                                                                                                                                     \
    const double got_ = (got), want_ = (want), allowed_ = (allowed);                                                                       \
    CHECK(std::abs(got_ - want_) <= allowed_, "%s[%lld] is %.9g, expected %.9g +- %.3g", what, static_cast<long long>(index), got_, want_, \
          allowed_);                                                                                                                       \
  } while (false)

struct Table {
  std::string name;
  const gatun_kernels *kernels;
};

/** To the race detector every lane of a kernel is a thread, half a millisecond each: tests should take few blocks. */
#if defined(__SANITIZE_THREAD__)
constexpr bool kDetectsRaces = true;
#else
constexpr bool kDetectsRaces = false;
#endif

/** Sizes that take too many blocks for the race detector. */
inline bool too_large(int64_t size, int64_t most) {
  return kDetectsRaces && size > most;
}

#if defined(GATUN_TEST_SIMT)
/** Indices in device memory are not looked at before they are used. */
constexpr bool kChecksIndices = false;

inline std::vector<Table> tables() {
  return {{"simt", gatun_simt_kernels()}};
}
inline void set_threads(int32_t) {}
/** A second run shows whether results depend on the order in which blocks happen to run; the race detector needs none. */
constexpr int kMaxThreads = kDetectsRaces ? 1 : 2;
inline const char *last_error() {
  return gatun_device_last_error();
}
#else
constexpr bool kChecksIndices = true;

/** Every instruction set of this CPU. */
inline std::vector<Table> tables() {
  std::vector<Table> found;
  for (const char *isa : {"generic", "v2", "v3", "v4", "v4-bf16"}) {
    const gatun_kernels *kernels = gatun_cpu_kernels(isa);
    if (kernels != nullptr) found.push_back({isa, kernels});
  }
  return found;
}
constexpr int kMaxThreads = 4;
inline void set_threads(int32_t threads) {
  gatun_cpu_set_threads(threads);
}
inline const char *last_error() {
  return gatun_cpu_last_error();
}
#endif

/** Workspace filled with NaN, so that nothing is read before it is written. */
inline Array workspace_for(const gatun_kernels &kernels, int64_t rows, int64_t columns) {
  Array workspace(GATUN_F32, kernels.workspace_bytes(rows, columns) / 4);
  std::memset(workspace.data(), 0xff, workspace.size());
  return workspace;
}

/** run(kernels) -> std::vector<Array> of outputs; check(outputs) or check(outputs, table) compares them with the reference. */
template <class Run, class Check>
void on_every_table(const Run &run, const Check &check) {
  for (const Table &table : tables()) {
    set_threads(1);
    const std::vector<Array> first = run(*table.kernels);
    const int before = failures();
    if constexpr (std::is_invocable_v<Check, const std::vector<Array> &, const Table &>) {
      check(first, table);
    } else {
      check(first);
    }
    for (size_t i = 0; i < first.size(); ++i) CHECK(first[i].intact(), "%s: output %zu is written beyond its ends", table.name.c_str(), i);
    if (failures() != before) std::fprintf(stderr, "  with table %s\n", table.name.c_str());
    for (int threads = 2; threads <= kMaxThreads; ++threads) {
      set_threads(threads);
      const std::vector<Array> again = run(*table.kernels);
      for (size_t i = 0; i < first.size(); ++i) {
        CHECK(again[i].same_bits(first[i]), "%s: output %zu with %d threads differs from 1 thread", table.name.c_str(), i, threads);
      }
    }
  }
  set_threads(1);
}

#define CHECK_OK(status) CHECK((status) == GATUN_OK, "%s", gatun::testing::last_error())

/** The call is refused with GATUN_INVALID_ARGUMENT and a text that has `text` in it. */
#define CHECK_INVALID(call, text)                                                                                                      \
  do {                                                                                                                                 \
    const int32_t status_ = (call);                                                                                                    \
    CHECK(status_ == GATUN_INVALID_ARGUMENT, "status %d, expected 1", status_);                                                        \
    CHECK(std::strstr(gatun::testing::last_error(), text) != nullptr, "text \"%s\" lacks \"%s\"", gatun::testing::last_error(), text); \
  } while (false)

inline const int32_t kDtypes[] = {GATUN_F32, GATUN_BF16};

}  // namespace gatun::testing

#endif
