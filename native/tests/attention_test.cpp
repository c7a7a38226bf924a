/*
 * attention against sums in double: lengths around the edges of blocks, grouped queries, windows, soft-caps, keys longer than
 * queries, both storage types, strided queries; gradients also against differences of the forward pass.
 */
#include <cmath>
#include <string>
#include <vector>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Lengths {
  int32_t query, key;
};

struct Case {
  std::vector<Lengths> segments;
  int64_t heads, kv_heads, head_dim;
  int64_t window;
  float softcap;
  int32_t dtype;
  int64_t stride_gap = 8;  // elements between rows of q and of d_q
};

constexpr int32_t kUnusedRows = 2;  // rows before, between and after segments, which belong to none; in inputs they are NaN

struct Setup {
  Case c;
  int64_t tokens = 0, key_rows = 0;
  std::vector<gatun_segment> segments;
  int64_t q_stride, width;
  float scale;
  Array q, k, v, d_out;

  Setup(const Case &test, Random &random)
      : c(test),
        segments(layout(test, tokens, key_rows)),
        q_stride(c.heads * c.head_dim + c.stride_gap),
        width(c.heads * c.head_dim),
        scale(1.0f / std::sqrt(static_cast<float>(c.head_dim))),
        q(c.dtype, tokens * q_stride, random),
        k(c.dtype, key_rows * kv_width(), random),
        v(c.dtype, key_rows * kv_width(), random),
        d_out(c.dtype, tokens * width, random) {
    int64_t query = 0, key = 0;
    for (const gatun_segment &segment : segments) {
      spoil(query, segment.query_begin, key, segment.key_begin);
      query = segment.query_begin + segment.query_length;
      key = segment.key_begin + segment.key_length;
    }
    spoil(query, tokens, key, key_rows);
  }

  static std::vector<gatun_segment> layout(const Case &test, int64_t &tokens, int64_t &key_rows) {
    std::vector<gatun_segment> all;
    int32_t query = 0, key = 0;
    for (const Lengths &lengths : test.segments) {
      query += kUnusedRows;
      key += kUnusedRows;
      all.push_back({query, lengths.query, key, lengths.key});
      query += lengths.query;
      key += lengths.key;
    }
    tokens = query + kUnusedRows;
    key_rows = key + kUnusedRows;
    return all;
  }
  void spoil(int64_t query, int64_t query_end, int64_t key, int64_t key_end) {
    for (int64_t i = query * q_stride; i < query_end * q_stride; ++i) q.set(i, NAN);
    for (int64_t i = query * width; i < query_end * width; ++i) d_out.set(i, NAN);
    for (int64_t i = key * kv_width(); i < key_end * kv_width(); ++i) {
      k.set(i, NAN);
      v.set(i, NAN);
    }
  }
  int64_t kv_width() const { return c.kv_heads * c.head_dim; }
  int64_t count() const { return static_cast<int64_t>(segments.size()); }

  /** out, lse. */
  std::vector<Array> forward(const gatun_kernels &kernels) {
    std::vector<Array> outputs{Array(c.dtype, tokens * width), Array(GATUN_F32, tokens * c.heads)};
    Array workspace = workspace_for(kernels, tokens, width);
    CHECK_OK(kernels.attention_forward(outputs[0].data(), outputs[1].floats(), q.data(), k.data(), v.data(), segments.data(), segments.data(),
                                       count(), c.heads, c.kv_heads, c.head_dim, q_stride, scale, c.softcap, c.window, c.dtype, workspace.data(),
                                       nullptr));
    return outputs;
  }
  /** d_q, d_k, d_v. */
  std::vector<Array> backward(const gatun_kernels &kernels) {
    const std::vector<Array> saved = forward(kernels);
    std::vector<Array> outputs{Array(c.dtype, tokens * q_stride), Array(c.dtype, key_rows * kv_width()), Array(c.dtype, key_rows * kv_width())};
    Array workspace = workspace_for(kernels, tokens, width);
    CHECK_OK(kernels.attention_backward(outputs[0].data(), outputs[1].data(), outputs[2].data(), d_out.data(), saved[0].data(),
                                        static_cast<const float *>(saved[1].data()), q.data(), k.data(), v.data(), segments.data(), segments.data(),
                                        count(), c.heads, c.kv_heads, c.head_dim, q_stride, q_stride, scale, c.softcap, c.window, c.dtype,
                                        workspace.data(), nullptr));
    return outputs;
  }
};

/** A sum and the sum of its terms' magnitudes. */
struct Sum {
  double value = 0, magnitude = 0;
  void add(double term) {
    value += term;
    magnitude += std::fabs(term);
  }
  void add(double term, double term_magnitude) {
    value += term;
    magnitude += term_magnitude;
  }
};

struct Reference {
  std::vector<Sum> out, lse, d_q, d_k, d_v;
  std::vector<bool> token_used, key_used;
  double largest_score = 0;  // sum of |q k| scale: what rounding of a score grows with

  explicit Reference(const Setup &s)
      : out(static_cast<size_t>(s.tokens * s.width)),
        lse(static_cast<size_t>(s.tokens * s.c.heads)),
        d_q(out),
        d_k(static_cast<size_t>(s.key_rows * s.kv_width())),
        d_v(d_k),
        token_used(static_cast<size_t>(s.tokens)),
        key_used(static_cast<size_t>(s.key_rows)) {
    for (const gatun_segment &segment : s.segments) {
      for (int32_t j = 0; j < segment.key_length; ++j) key_used[static_cast<size_t>(segment.key_begin + j)] = true;
      for (int32_t i = 0; i < segment.query_length; ++i) {
        token_used[static_cast<size_t>(segment.query_begin + i)] = true;
        for (int64_t head = 0; head < s.c.heads; ++head) row(s, segment, i, head);
      }
    }
  }

 private:
  void row(const Setup &s, const gatun_segment &segment, int32_t i, int64_t head) {
    const int64_t dim = s.c.head_dim;
    const int64_t token = segment.query_begin + i;
    const int64_t kv_head = head / (s.c.heads / s.c.kv_heads);
    const int64_t last = i + segment.key_length - segment.query_length;
    const int64_t first = s.c.window > 0 && last - s.c.window + 1 > 0 ? last - s.c.window + 1 : 0;
    const int64_t q_at = token * s.q_stride + head * dim;
    const int64_t o_at = token * s.width + head * dim;
    const auto k_at = [&](int64_t j) { return (segment.key_begin + j) * s.kv_width() + kv_head * dim; };

    std::vector<double> score, slope;
    double highest = -HUGE_VAL;
    for (int64_t j = first; j <= last; ++j) {
      Sum dot;
      for (int64_t d = 0; d < dim; ++d) dot.add(s.scale * s.q[q_at + d] * s.k[k_at(j) + d]);
      largest_score = std::fmax(largest_score, dot.magnitude);
      const double t = s.c.softcap > 0 ? std::tanh(dot.value / s.c.softcap) : 0;
      score.push_back(s.c.softcap > 0 ? s.c.softcap * t : dot.value);
      slope.push_back(1 - t * t);
      highest = std::fmax(highest, score.back());
    }
    double total = 0;
    for (const double x : score) total += std::exp(x - highest);
    const double log_sum = highest + std::log(total);
    lse[static_cast<size_t>(token * s.c.heads + head)].add(log_sum);

    Sum delta;
    for (int64_t d = 0; d < dim; ++d) {
      Sum &o = out[static_cast<size_t>(o_at + d)];
      for (int64_t j = first; j <= last; ++j) o.add(std::exp(score[static_cast<size_t>(j - first)] - log_sum) * s.v[k_at(j) + d]);
      delta.add(s.d_out[o_at + d] * o.value, std::fabs(s.d_out[o_at + d]) * o.magnitude);
    }
    for (int64_t j = first; j <= last; ++j) {
      const size_t at = static_cast<size_t>(j - first);
      const double p = std::exp(score[at] - log_sum);
      Sum d_p;
      for (int64_t d = 0; d < dim; ++d) d_p.add(s.d_out[o_at + d] * s.v[k_at(j) + d]);
      const double d_s = p * (d_p.value - delta.value) * slope[at] * s.scale;
      const double magnitude = p * (d_p.magnitude + delta.magnitude) * std::fabs(s.scale);
      for (int64_t d = 0; d < dim; ++d) {
        const double q = s.q[q_at + d], k = s.k[k_at(j) + d];
        d_q[static_cast<size_t>(o_at + d)].add(d_s * k, magnitude * std::fabs(k));
        d_k[static_cast<size_t>(k_at(j) + d)].add(d_s * q, magnitude * std::fabs(q));
        d_v[static_cast<size_t>(k_at(j) + d)].add(p * s.d_out[o_at + d]);
      }
    }
  }
};

/** Whether products with probabilities and with d_s are of bf16: on tensor cores, and where the CPU multiplies pairs of bf16. */
bool rounds_probabilities(const Table &table) {
  return table.name == "simt" || table.name == "v4-bf16";
}

/**
 * Rounding allowed for a sum of products with probabilities, as a share of the sum of its terms' magnitudes. A score is a sum of
 * head_dim products and one more rounding for each of scale, soft-cap and lse: off by at most (head_dim + 8) 2^-24 largest_score, and a
 * probability by as much relatively, plus exp's 2^-22; sums over at most 1024 rows or keys in blocks: 2^-24 * 1024 at the very most.
 * bf16 has 8 bits, so rounding to it is off by at most 2^-8: the stored result; in gradients the output that delta reads; where both operands of a
 * product are bf16, each probability, or in gradients each d_s. Twice this share is allowed to gradients.
 */
double share(const Setup &s, const Reference &reference, const Table &table) {
  const double scores = 2 * static_cast<double>(s.c.head_dim + 8) * 0x1p-24 * (reference.largest_score + 1);
  const double stored = s.c.dtype == GATUN_BF16 ? (rounds_probabilities(table) ? 0x1p-7 : 0x1p-8) : 0;
  return scores + 0x1p-22 + 0x1p-14 + stored;
}

void check_forward(const Setup &s, const Reference &reference, const std::vector<Array> &outputs, const Table &table) {
  const double rounding = share(s, reference, table);
  for (int64_t token = 0; token < s.tokens; ++token) {
    for (int64_t i = token * s.width; i < (token + 1) * s.width; ++i) {
      const Sum &want = reference.out[static_cast<size_t>(i)];
      if (reference.token_used[static_cast<size_t>(token)]) {
        CHECK_NEAR(outputs[0][i], want.value, rounding * want.magnitude, "out", i);
      } else {
        CHECK(outputs[0][i] == -77, "out[%lld] is outside all segments and was written", static_cast<long long>(i));
      }
    }
    for (int64_t i = token * s.c.heads; i < (token + 1) * s.c.heads; ++i) {
      if (!reference.token_used[static_cast<size_t>(token)]) continue;
      CHECK_NEAR(outputs[1][i], reference.lse[static_cast<size_t>(i)].value, 0x1p-14 * (1 + reference.largest_score), "lse", i);
    }
  }
}

void check_backward(const Setup &s, const Reference &reference, const std::vector<Array> &outputs, const Table &table) {
  const double rounding = 2 * share(s, reference, table);
  for (int64_t token = 0; token < s.tokens; ++token) {
    const bool used = reference.token_used[static_cast<size_t>(token)];
    for (int64_t i = 0; i < s.q_stride; ++i) {
      const int64_t at = token * s.q_stride + i;
      if (used && i < s.width) {
        const Sum &want = reference.d_q[static_cast<size_t>(token * s.width + i)];
        CHECK_NEAR(outputs[0][at], want.value, rounding * want.magnitude, "d_q", at);
      } else {
        CHECK(outputs[0][at] == -77, "d_q[%lld] is no query's and was written", static_cast<long long>(at));
      }
    }
  }
  for (int64_t row = 0; row < s.key_rows; ++row) {
    for (int64_t i = row * s.kv_width(); i < (row + 1) * s.kv_width(); ++i) {
      if (reference.key_used[static_cast<size_t>(row)]) {
        const Sum &d_k = reference.d_k[static_cast<size_t>(i)], &d_v = reference.d_v[static_cast<size_t>(i)];
        CHECK_NEAR(outputs[1][i], d_k.value, rounding * d_k.magnitude, "d_k", i);
        CHECK_NEAR(outputs[2][i], d_v.value, rounding * d_v.magnitude, "d_v", i);
      } else {
        CHECK(outputs[1][i] == -77 && outputs[2][i] == -77, "row %lld is no key's and was written", static_cast<long long>(row));
      }
    }
  }
}

void check_case(const Case &c, uint64_t seed) {
  Random random(seed);
  Setup s(c, random);
  const Reference reference(s);
  const int before = failures();
  on_every_table([&](const gatun_kernels &kernels) { return s.forward(kernels); },
                 [&](const std::vector<Array> &outputs, const Table &table) { check_forward(s, reference, outputs, table); });
  on_every_table([&](const gatun_kernels &kernels) { return s.backward(kernels); },
                 [&](const std::vector<Array> &outputs, const Table &table) { check_backward(s, reference, outputs, table); });
  if (failures() != before) {
    std::fprintf(stderr, "  with heads %lld, kv_heads %lld, head_dim %lld, window %lld, softcap %g, dtype %d, first segment %d queries %d keys\n",
                 static_cast<long long>(c.heads), static_cast<long long>(c.kv_heads), static_cast<long long>(c.head_dim),
                 static_cast<long long>(c.window), static_cast<double>(c.softcap), c.dtype, c.segments[0].query, c.segments[0].key);
  }
}

#if defined(__SANITIZE_THREAD__)  // kDetectsRaces: what shows every barrier
TEST(attention_has_no_races) {
  for (const int32_t dtype : kDtypes) check_case({{{70, 100}, {3, 3}}, 2, 1, 16, 40, 2.0f, dtype}, 21);
  check_case({{{40, 40}}, 2, 1, 256, 0, 0, GATUN_BF16}, 22);
  check_case({{{40, 40}}, 2, 1, 24, 0, 0, GATUN_BF16, 7}, 23);
}
#else
TEST(attention_of_every_length) {
  for (const int32_t dtype : kDtypes) {
    for (const int32_t length : {1, 2, 15, 16, 17, 47, 48, 49, 63, 64, 65, 127, 128, 129}) {
      check_case({{{length, length}}, 2, 1, 16, 0, 0, dtype}, 1);
    }
  }
}

TEST(attention_of_grouped_heads) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t group : {1, 2, 3, 4, 7, 8}) check_case({{{37, 37}, {5, 70}}, 2 * group, 2, 24, 0, 0, dtype}, 2);
  }
}

TEST(attention_of_every_head_size) {
  for (const int32_t dtype : kDtypes) {
    for (int64_t head_dim = 8; head_dim <= 256; head_dim += 8) check_case({{{19, 26}}, 2, 1, head_dim, 0, 0, dtype}, 3);
  }
}

TEST(attention_in_a_window) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t window : {1, 5, 24, 64, 1000}) check_case({{{130, 130}, {3, 200}, {70, 71}}, 4, 2, 16, window, 0, dtype}, 4);
  }
}

TEST(attention_with_soft_cap) {
  for (const int32_t dtype : kDtypes) {
    for (const float softcap : {0.5f, 30.0f}) check_case({{{65, 129}, {9, 9}}, 4, 1, 32, 40, softcap, dtype}, 5);
  }
}

TEST(attention_to_longer_keys) {
  for (const int32_t dtype : kDtypes) {
    check_case({{{1, 300}, {1, 1}, {2, 300}, {63, 127}, {127, 128}, {1, 64}}, 4, 2, 40, 0, 0, dtype}, 6);
    check_case({{{300, 300}}, 3, 1, 64, 0, 0, dtype}, 7);
  }
}

/*
 * What kernels that go through tiles may get wrong: lengths one below, at and above a tile's, tiles that a window hides whole or in part, keys
 * that no query sees, grouped heads; a pair of answers is the segments [prompt | chosen] and, over the prompt's copy, [rejected].
 */
TEST(attention_across_tiles) {
  for (const int32_t dtype : kDtypes) {
    check_case({{{63, 63}, {64, 65}, {1, 1}}, 4, 1, 64, 0, 0, dtype}, 11);
    check_case({{{65, 200}, {129, 129}}, 2, 1, 64, 17, 0, dtype}, 12);
    check_case({{{150, 150}, {40, 100}}, 4, 2, 80, 64, 0, dtype}, 13);
    check_case({{{128, 128}, {1, 129}}, 2, 2, 96, 0, 15.0f, dtype}, 14);
    check_case({{{127, 127}, {64, 200}}, 4, 1, 128, 0, 0, dtype}, 15);
    check_case({{{66, 130}}, 2, 1, 128, 1, 0, dtype}, 16);
    check_case({{{65, 67}, {3, 90}}, 2, 1, 256, 33, 40.0f, dtype}, 17);
  }
}

/* Rows that do not all begin on 16 bytes, nor on 4. */
TEST(attention_of_unaligned_rows) {
  for (const int32_t dtype : kDtypes) {
    check_case({{{70, 70}, {9, 33}}, 4, 2, 64, 20, 0, dtype, 7}, 18);
    check_case({{{33, 40}}, 2, 1, 24, 0, 3.0f, dtype, 15}, 19);
  }
}

/* The largest product is then the smallest score. */
TEST(attention_of_scales_below_zero) {
  for (const int32_t dtype : kDtypes) {
    for (const float scale : {-0.5f, 0.0f}) {
      Random random(20);
      Setup s({{{40, 70}}, 2, 1, 16, 0, 0, dtype}, random);
      s.scale = scale;
      const Reference reference(s);
      on_every_table([&](const gatun_kernels &kernels) { return s.forward(kernels); },
                     [&](const std::vector<Array> &outputs, const Table &table) { check_forward(s, reference, outputs, table); });
      on_every_table([&](const gatun_kernels &kernels) { return s.backward(kernels); },
                     [&](const std::vector<Array> &outputs, const Table &table) { check_backward(s, reference, outputs, table); });
    }
  }
}

/* Scores far apart: the running maximum must carry the sums across blocks. */
TEST(attention_of_large_scores) {
  Random random(8);
  Setup s({{{100, 200}}, 2, 1, 16, 0, 0, GATUN_F32}, random);
  s.scale = 20;
  const Reference reference(s);
  on_every_table([&](const gatun_kernels &kernels) { return s.forward(kernels); },
                 [&](const std::vector<Array> &outputs, const Table &table) { check_forward(s, reference, outputs, table); });
}

/*
 * (loss(x + h) - loss(x - h)) / 2h, loss = sum d_out out, summed in double. Its error is h^2 / 6 of the third derivative and 2^-22 |out| / h
 * of rounding: with h = 2^-7 both are below 1e-3 of gradients of this size.
 */
TEST(attention_gradients_are_differences) {
  constexpr double kStep = 0x1p-7;
  Random random(9);
  Setup s({{{6, 9}, {5, 5}}, 4, 2, 8, 4, 2.0f, GATUN_F32}, random);
  for (const Table &table : tables()) {
    const std::vector<Array> gradients = s.backward(*table.kernels);
    const auto loss = [&] {
      const std::vector<Array> outputs = s.forward(*table.kernels);
      double sum = 0;
      for (const gatun_segment &segment : s.segments) {
        for (int64_t i = segment.query_begin * s.width; i < (segment.query_begin + segment.query_length) * s.width; ++i) {
          sum += outputs[0][i] * s.d_out[i];
        }
      }
      return sum;
    };
    Array *inputs[] = {&s.q, &s.k, &s.v};
    for (size_t input = 0; input < 3; ++input) {
      for (int64_t i = 0; i < inputs[input]->count(); i += 3) {
        if (gradients[input][i] == -77) continue;  // between rows and segments
        const double x = inputs[input]->get(i);
        inputs[input]->set(i, x + kStep);
        const double above = loss();
        inputs[input]->set(i, x - kStep);
        const double below = loss();
        inputs[input]->set(i, x);
        CHECK_NEAR(gradients[input][i], (above - below) / (2 * kStep), 5e-3, "gradient", i);
      }
    }
  }
}

#endif

TEST(attention_refuses) {
  Random random(10);
  Setup s({{{3, 3}}, 2, 1, 8, 0, 0, GATUN_F32}, random);
  for (const Table &table : tables()) {
    const gatun_kernels &kernels = *table.kernels;
    Array out(GATUN_F32, s.tokens * s.q_stride), workspace = workspace_for(kernels, s.tokens, s.width);
    const auto forward = [&](void *to, int64_t heads, int64_t head_dim, int64_t stride, float softcap, int64_t window, int32_t dtype,
                             const gatun_segment *segments, const gatun_segment *host_segments) {
      return kernels.attention_forward(to, nullptr, s.q.data(), s.k.data(), s.v.data(), segments, host_segments, 1, heads, 1, head_dim, stride, 1.0f,
                                       softcap, window, dtype, workspace.data(), nullptr);
    };
    const gatun_segment *good = s.segments.data();
    CHECK_OK(forward(out.data(), 2, 8, s.q_stride, 0, 0, GATUN_F32, good, good));
    CHECK_INVALID(forward(nullptr, 2, 8, s.q_stride, 0, 0, GATUN_F32, good, good), "attention_forward: out is NULL");
    CHECK_INVALID(forward(out.data(), 0, 8, s.q_stride, 0, 0, GATUN_F32, good, good), "heads is 0");
    CHECK_INVALID(forward(out.data(), 2, 8, 15, 0, 0, GATUN_F32, good, good), "q_stride is 15");
    CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, -1, 0, GATUN_F32, good, good), "softcap is -1");
    CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, 0, -1, GATUN_F32, good, good), "window is -1");
    CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, 0, 0, 7, good, good), "dtype is 7");
    CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, 0, 0, GATUN_F32, nullptr, good), "segments is NULL");
    CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, 0, 0, GATUN_F32, good, nullptr), "host_segments is NULL");
    for (const gatun_segment &bad : {gatun_segment{-1, 1, 0, 1}, {0, 1, -1, 1}, {0, 0, 0, 1}, {0, 2, 0, 1}}) {
      CHECK_INVALID(forward(out.data(), 2, 8, s.q_stride, 0, 0, GATUN_F32, &bad, &bad), "segments[0] is");
    }
    for (const int64_t head_dim : {0, 4, 12, 264}) {
      CHECK(forward(out.data(), 2, head_dim, 1000, 0, 0, GATUN_F32, good, good) == GATUN_UNSUPPORTED, "head_dim %lld",
            static_cast<long long>(head_dim));
    }
    const auto backward = [&](int64_t heads, int64_t kv_heads, int64_t d_q_stride, const float *lse) {
      return kernels.attention_backward(out.data(), out.data(), out.data(), s.d_out.data(), s.d_out.data(), lse, s.q.data(), s.k.data(), s.v.data(),
                                        good, good, 1, heads, kv_heads, 8, d_q_stride, s.q_stride, 1.0f, 0, 0, GATUN_F32, workspace.data(), nullptr);
    };
    CHECK_INVALID(backward(3, 2, 24, out.floats()), "heads is 3, expected a multiple of kv_heads = 2");
    CHECK_INVALID(backward(2, 1, 15, out.floats()), "d_q_stride is 15");
    CHECK_INVALID(backward(2, 1, 16, nullptr), "attention_backward: lse is NULL");
  }
}

}  // namespace
}  // namespace gatun::testing
