/*
 * checks.h: how a row of the kernel table refuses its arguments, and how a failure becomes a status and a text.
 * Compiled once (checks.cpp), so that nothing here depends on an instruction set.
 */
#ifndef GATUN_CHECKS_H
#define GATUN_CHECKS_H

#include <cstdint>

namespace gatun {

/** Throws GATUN_INVALID_ARGUMENT with this text: what, got, expected, remedy. */
[[noreturn, gnu::format(printf, 1, 2)]] void invalid(const char *format, ...);
/** Throws GATUN_UNSUPPORTED. */
[[noreturn, gnu::format(printf, 1, 2)]] void unsupported(const char *format, ...);
/** Throws GATUN_FAILED: the arguments are right, their execution went wrong. */
[[noreturn, gnu::format(printf, 1, 2)]] void failed(const char *format, ...);

void check_pointer(const char *name, const void *pointer);
/** value >= 0. */
void check_extent(const char *name, int64_t value);
/** value >= 1. */
void check_positive(const char *name, int64_t value);
/** Rows of `width` elements that do not overlap. */
void check_stride(const char *name, int64_t stride, int64_t width);
/** 0 <= index[i] < bound for i < count. */
void check_indices(const char *name, const int32_t *index, int64_t count, int64_t bound);
/** begin[0] >= 0, and no begin is smaller than the one before. begin [count + 1]. */
void check_begins(const char *name, const int32_t *begin, int64_t count);
/** a and b are both given or both NULL. */
void check_both_or_neither(const char *a_name, const void *a, const char *b_name, const void *b);
/** What adamw, rmsprop and sgd have in common. */
void check_optimizer(const void *weight, const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count);
/** 1 - beta^step of both moments is above 0. */
void check_corrections(double correction1, double correction2);
/** Stochastic rounding is of bf16 weights without remainders. */
void check_stochastic(const void *remainder, int32_t dtype);
/** The shape that rope's two passes have in common. */
void check_rope_shape(int64_t tokens, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_out_stride, int64_t q_stride, int64_t kv_stride);
[[noreturn]] void invalid_dtype(const char *name, int32_t dtype, const char *expected);

/** To be called inside `catch (...)`: keeps "<row>: <what went wrong>" for last_error() of this thread and returns the status. */
int32_t remember_failure(const char *row) noexcept;
/** Text of the calling thread's last failure, "" if none. */
const char *last_failure() noexcept;

}  // namespace gatun

#endif
