#include "checks.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <new>

#include "gatun_kernels.h"

namespace gatun {
namespace {

constexpr int kFailureBytes = 448;

struct Failure {
  int32_t status;
  char text[kFailureBytes];
};

constexpr int kTextBytes = 512;  // "<row>: " and the text of a Failure
thread_local char last_text[kTextBytes];

}  // namespace

void invalid(const char *format, ...) {
  Failure failure{GATUN_INVALID_ARGUMENT, {}};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.text, kFailureBytes, format, arguments);
  va_end(arguments);
  throw failure;
}

void unsupported(const char *format, ...) {
  Failure failure{GATUN_UNSUPPORTED, {}};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.text, kFailureBytes, format, arguments);
  va_end(arguments);
  throw failure;
}

void failed(const char *format, ...) {
  Failure failure{GATUN_FAILED, {}};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(failure.text, kFailureBytes, format, arguments);
  va_end(arguments);
  throw failure;
}

void check_pointer(const char *name, const void *pointer) {
  if (pointer == nullptr) invalid("%s is NULL, expected memory; only arguments marked [opt] may be NULL", name);
}

void check_extent(const char *name, int64_t value) {
  if (value < 0) invalid("%s is %" PRId64 ", expected 0 or more", name, value);
}

void check_positive(const char *name, int64_t value) {
  if (value < 1) invalid("%s is %" PRId64 ", expected 1 or more", name, value);
}

void check_stride(const char *name, int64_t stride, int64_t width) {
  if (stride < width) {
    invalid("%s is %" PRId64 ", expected at least %" PRId64 " elements, the width of a row", name, stride, width);
  }
}

void check_indices(const char *name, const int32_t *index, int64_t count, int64_t bound) {
  for (int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= bound) {
      invalid("%s[%" PRId64 "] is %" PRId32 ", expected 0 to %" PRId64, name, i, index[i], bound - 1);
    }
  }
}

void check_begins(const char *name, const int32_t *begin, int64_t count) {
  if (begin[0] < 0) invalid("%s[0] is %" PRId32 ", expected at least 0", name, begin[0]);
  for (int64_t i = 0; i < count; ++i) {
    if (begin[i + 1] < begin[i]) {
      invalid("%s[%" PRId64 "] is %" PRId32 ", expected at least %" PRId32 ", the value before it", name, i + 1, begin[i + 1], begin[i]);
    }
  }
}

void check_both_or_neither(const char *a_name, const void *a, const char *b_name, const void *b) {
  if ((a == nullptr) != (b == nullptr)) {
    invalid("%s is NULL but %s is not, expected both or neither", a == nullptr ? a_name : b_name, a == nullptr ? b_name : a_name);
  }
}

void check_optimizer(const void *weight, const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count) {
  check_extent("count", count);
  check_extent("decay_count", decay_count);
  if (decay_count > count) invalid("decay_count is %" PRId64 ", expected at most count, %" PRId64, decay_count, count);
  if (count == 0) return;
  check_pointer("weight", weight);
  check_pointer("gradient", gradient);
  check_pointer("gradient_scale", gradient_scale);
}

void check_corrections(double correction1, double correction2) {
  if (!(correction1 > 0) || !(correction2 > 0)) {
    invalid("correction1 is %g and correction2 is %g, expected 1 - beta^step, above 0", correction1, correction2);
  }
}

void check_stochastic(const void *remainder, int32_t dtype) {
  if (dtype != GATUN_BF16 || remainder != nullptr) {
    invalid("rounding_seed is given with dtype %d and %s remainder, expected dtype 1 (bf16) and none: other weights are not rounded", dtype,
            remainder == nullptr ? "no" : "a");
  }
}

void check_rope_shape(int64_t tokens, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_out_stride, int64_t q_stride, int64_t kv_stride) {
  check_extent("tokens", tokens);
  check_positive("heads", heads);
  check_positive("kv_heads", kv_heads);
  check_positive("head_dim", head_dim);
  check_stride("q_out_stride", q_out_stride, heads * head_dim);
  check_stride("q_stride", q_stride, heads * head_dim);
  check_stride("kv_stride", kv_stride, kv_heads * head_dim);
}

void invalid_dtype(const char *name, int32_t dtype, const char *expected) {
  invalid("%s is %" PRId32 ", expected %s", name, dtype, expected);
}

int32_t remember_failure(const char *row) noexcept {
  try {
    throw;
  } catch (const Failure &failure) {
    std::snprintf(last_text, kTextBytes, "%s: %s", row, failure.text);
    return failure.status;
  } catch (const std::bad_alloc &) {
    std::snprintf(last_text, kTextBytes, "%s: out of memory", row);
    return GATUN_OUT_OF_MEMORY;
  } catch (const std::exception &exception) {
    std::snprintf(last_text, kTextBytes, "%s: %s", row, exception.what());
    return GATUN_FAILED;
  } catch (...) {
    std::snprintf(last_text, kTextBytes, "%s: unknown exception", row);
    return GATUN_FAILED;
  }
}

const char *last_failure() noexcept {
  return last_text;
}

}  // namespace gatun
