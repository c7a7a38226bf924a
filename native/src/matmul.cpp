// gatun_cpu_matmul: C = op(A) op(B) + bias + beta C.
//
// The output is cut into tiles, each computed by one thread. The result is the same, bit for bit, for any number of threads: in our
// own panels (matmul_panels_kernel.h) an element's sum does not depend on the tile; oneDNN's tiles are cut by shape alone, and oneDNN
// runs them sequentially.
//
//   f32           our own panels: the threads pack a block of B together, then share the rows of A. oneDNN's sgemm is as fast for
//                 whole matrices, but its sums may depend on the number of threads.
//   f32, few rows dnnl_sgemm: reading B once is all the work, so packing it would not pay.
//   bf16          our own panels where the CPU has VDPBF16PS and no AMX; with AMX, or few rows,
//                 a oneDNN matmul primitive for (columns, k, strides, types), with the rows left open where
//                 m is large: a new number of tokens needs no new code generation.
//   bf16, A^T     (weight gradients: k is the number of tokens) k is cut to a multiple of
//                 kContractionStep, and the rest is a product padded with zeros to one step, so that
//                 here too the primitives do not depend on the exact number of tokens.
//   bf16 without  (below AVX-512) the tile's operands are widened to f32, block by block of k.
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <string_view>
#include <unordered_map>

#include "checks.h"
#include "gatun_cpu.h"
#include "matmul_panels.h"
#include "scratch.h"
#include "threads.h"

#if defined(__x86_64__)
namespace gatun::v2 {
extern const Panels f32_panels;
}
namespace gatun::v3 {
extern const Panels f32_panels;
}
namespace gatun::v4 {
extern const Panels f32_panels;
}
namespace gatun::v4_bf16 {
extern const Panels bf16_panels;
}
#else
namespace gatun::generic {
extern const Panels f32_panels;
}
#endif

namespace gatun {
namespace {

// Rows of A and B per product of a weight gradient's tail; also the granularity of its primitives.
constexpr int64_t kContractionStep = 64;
// Up to here the number of rows is part of the primitive (decoding: few rows, other kernels).
constexpr int64_t kMaxStaticRows = 16;
// Below this many rows products go to oneDNN.
constexpr int64_t kFewRows = 8;
// Tiles per thread: enough that threads which start late or run slow cost little.
constexpr int64_t kTilesPerThread = 3;
constexpr int64_t kFewestTileRows = 48;
// Below this many multiply-adds waking other threads costs more than it saves.
constexpr int64_t kSerialWork = int64_t{1} << 17;
// Primitives kept. A model needs about 30, its generation loop some more.
constexpr size_t kMaxProducts = 512;
// Multiply-adds of bf16 that moving one element of A into a tile costs, as measured; an element of B costs half.
constexpr double kCopyCost = 64;
// Elements of k widened at a time on machines without bf16 products.
constexpr int64_t kWidenedContraction = 512;

struct Product {
  void *c;
  const void *a;
  const void *b;
  const void *bias;
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b, accumulate;
  int32_t ab_dtype, c_dtype;

  // First element of op(A)[row, 0], op(B)[0, column], C[row, column].
  int64_t a_offset(int64_t row) const { return transpose_a ? row : row * lda; }
  int64_t b_offset(int64_t column) const { return transpose_b ? column * ldb : column; }
  int64_t c_offset(int64_t row, int64_t column) const { return row * ldc + column; }
};

// Rows and columns of C per tile.
struct Tile {
  int64_t rows, columns;
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

// The tile that makes the product fastest on 2 and on 8 threads, by this model: a tile costs its
// multiply-adds plus kCopyCost per element that it packs; threads take whole tiles.
// A function of the shape alone. m counts in powers of two, so that the columns of a tile (which
// are part of a primitive) do not follow every change of the number of tokens.
Tile cut(int64_t m, int64_t n) {
  constexpr int64_t kRows[] = {64, 96, 128, 192, 256, 384, 512, 768};
  constexpr int64_t kColumns[] = {128, 192, 256, 384, 576, 768};
  constexpr int64_t kColumnStep = 64;  // what AMX and AVX-512 kernels take at a time
  const int64_t m_class = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(m)));
  Tile best{};
  double best_cost = 0;
  for (int64_t max_rows : kRows) {
    for (int64_t max_columns : kColumns) {
      const int64_t row_tiles = ceil_div(m_class, max_rows);
      const int64_t column_tiles = ceil_div(n, max_columns);
      const int64_t rows = std::min(m_class, max_rows);
      const int64_t columns = round_up(ceil_div(n, column_tiles), kColumnStep);
      const double tile_cost = static_cast<double>(rows * columns) + kCopyCost * (static_cast<double>(rows) + 0.5 * static_cast<double>(columns));
      const int64_t tiles = row_tiles * column_tiles;
      double cost = 0;
      for (int64_t threads : {2, 8}) cost += threads * ceil_div(tiles, threads) * tile_cost;
      if (best.rows == 0 || cost < best_cost) {
        best_cost = cost;
        best = {max_rows, columns};
      }
    }
  }
  const int64_t row_tiles = ceil_div(m, best.rows);
  best.rows = std::min(m, round_up(ceil_div(m, row_tiles), 16));
  best.columns = std::min(n, best.columns);
  return best;
}

void *reserve(Scratch &scratch, size_t bytes) {
  void *data = scratch.reserve(bytes);
  if (data == nullptr && bytes > 0) throw std::bad_alloc();
  return data;
}

const dnnl::engine &cpu_engine() {
  static const dnnl::engine engine = [] {
    dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict);  // f32 means f32, whatever the environment says
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

// What a primitive is made for. rows = 0: any.
struct ProductKey {
  int64_t rows, columns, k, lda, ldb, ldc;
  int32_t c_dtype;
  bool transpose_a, transpose_b, accumulate, bias;
  bool operator==(const ProductKey &) const = default;
};

struct ProductKeyHash {
  size_t operator()(const ProductKey &key) const {
    uint64_t hash = 0;
    for (int64_t value : {key.rows, key.columns, key.k, key.lda, key.ldb, key.ldc,
                          int64_t{key.c_dtype} * 16 + key.transpose_a * 8 + key.transpose_b * 4 + key.accumulate * 2 + key.bias}) {
      hash = (std::rotl(hash, 23) ^ static_cast<uint64_t>(value)) * 0x9E3779B97F4A7C15u;
    }
    return static_cast<size_t>(hash ^ (hash >> 32));
  }
};

// One bf16 product: a primitive that any number of threads execute at once.
class Bf16Product {
 public:
  explicit Bf16Product(const ProductKey &key) : key_(key) {
    const int64_t rows = key.rows == 0 ? DNNL_RUNTIME_DIM_VAL : key.rows;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (key.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const auto descriptor = [&] {
      return key.bias ? dnnl::matmul::primitive_desc(cpu_engine(), a(rows), b(), bias(), c(rows), attributes)
                      : dnnl::matmul::primitive_desc(cpu_engine(), a(rows), b(), c(rows), attributes);
    }();
    primitive_ = dnnl::matmul(descriptor);
    scratch_bytes_ = descriptor.scratchpad_desc().get_size();
    scratch_ = descriptor.scratchpad_desc();
    b_ = b();
    bias_ = bias();
  }

  void execute(int64_t rows, void *c_data, const void *a_data, const void *b_data, const void *bias_data) const {
    thread_local dnnl::stream stream(cpu_engine());
    thread_local Scratch scratch;
    const auto memory = [](const dnnl::memory::desc &desc, const void *data) { return dnnl::memory(desc, cpu_engine(), const_cast<void *>(data)); };
    const dnnl::memory operands[] = {memory(a(rows), a_data), memory(b_, b_data), memory(c(rows), c_data),
                                     memory(scratch_, reserve(scratch, scratch_bytes_)), memory(bias_, bias_data)};
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, operands[0].get()},
                                         {DNNL_ARG_WEIGHTS, operands[1].get()},
                                         {DNNL_ARG_DST, operands[2].get()},
                                         {DNNL_ARG_SCRATCHPAD, operands[3].get()},
                                         {DNNL_ARG_BIAS, operands[4].get()}};
    dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive_.get(), stream.get(), key_.bias ? 5 : 4, arguments),
                            "could not execute a matmul primitive");
  }

 private:
  using Desc = dnnl::memory::desc;
  static constexpr auto kBf16 = dnnl::memory::data_type::bf16;

  static dnnl::memory::dims strides(bool transposed, int64_t stride) {
    return transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
  }
  Desc a(int64_t rows) const { return Desc({rows, key_.k}, kBf16, strides(key_.transpose_a, key_.lda)); }
  Desc b() const { return Desc({key_.k, key_.columns}, kBf16, strides(key_.transpose_b, key_.ldb)); }
  Desc c(int64_t rows) const {
    const auto type = key_.c_dtype == GATUN_F32 ? dnnl::memory::data_type::f32 : kBf16;
    return Desc({rows, key_.columns}, type, strides(false, key_.ldc));
  }
  Desc bias() const { return Desc({1, key_.columns}, kBf16, strides(false, key_.columns)); }

  ProductKey key_;
  dnnl::matmul primitive_;
  Desc b_, bias_, scratch_;
  size_t scratch_bytes_ = 0;
};

// The primitives made so far, shared by all threads. A product asks once per call, not once per tile.
class ProductCache {
 public:
  std::shared_ptr<const Bf16Product> get(const ProductKey &key) {
    const std::lock_guard lock(mutex_);
    if (const auto found = products_.find(key); found != products_.end()) {
      found->second.last_use = ++uses_;
      return found->second.product;
    }
    if (products_.size() >= kMaxProducts) {
      products_.erase(
          std::min_element(products_.begin(), products_.end(), [](const auto &x, const auto &y) { return x.second.last_use < y.second.last_use; }));
    }
    auto product = std::make_shared<const Bf16Product>(key);
    products_.emplace(key, Entry{product, ++uses_});
    return product;
  }

 private:
  struct Entry {
    std::shared_ptr<const Bf16Product> product;
    uint64_t last_use;
  };
  std::mutex mutex_;
  std::unordered_map<ProductKey, Entry, ProductKeyHash> products_;
  uint64_t uses_ = 0;
};

ProductCache &products() {
  static ProductCache cache;
  return cache;
}

// The calling thread asks OpenMP for one thread while this lives: inside a team oneDNN runs
// sequentially by itself, but a team of one does not count as a team.
class SequentialScope {
 public:
  SequentialScope() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SequentialScope() { omp_set_num_threads(threads_); }
  SequentialScope(const SequentialScope &) = delete;
  SequentialScope &operator=(const SequentialScope &) = delete;

 private:
  int threads_;
};

const char *at(const void *base, int64_t element, int64_t element_bytes) {
  return static_cast<const char *>(base) + element * element_bytes;
}

char *at(void *base, int64_t element, int64_t element_bytes) {
  return static_cast<char *>(base) + element * element_bytes;
}

void sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
           bool accumulate, float *c, int64_t ldc) {
  dnnl::error::wrap_c_api(
      dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, ldc),
      "could not execute sgemm");
}

void few_rows_tile(const Product &p, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  float *c = static_cast<float *>(p.c) + p.c_offset(row, column);
  sgemm(p.transpose_a, p.transpose_b, rows, columns, p.k, static_cast<const float *>(p.a) + p.a_offset(row), p.lda,
        static_cast<const float *>(p.b) + p.b_offset(column), p.ldb, p.accumulate, c, p.ldc);
  if (p.bias != nullptr) {
    const float *bias = static_cast<const float *>(p.bias) + column;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < columns; ++j) c[r * p.ldc + j] += bias[j];
    }
  }
}

const Panels &f32_panels() {
#if defined(__x86_64__)
  static const Panels &panels = []() -> const Panels & {
    const std::string_view isa = gatun_cpu_isa();
    return isa == "v4" || isa == "v4-bf16" ? v4::f32_panels : isa == "v3" ? v3::f32_panels : v2::f32_panels;
  }();
  return panels;
#else
  return generic::f32_panels;
#endif
}

// NULL where oneDNN is to multiply bf16: with AMX, which is faster, and without VDPBF16PS. ONEDNN_MAX_CPU_ISA counts.
const Panels *bf16_panels() {
#if defined(__x86_64__)
  static const Panels *panels = []() -> const Panels * {
    if (std::string_view(gatun_cpu_isa()) != "v4-bf16") return nullptr;
    const auto isa = static_cast<unsigned>(dnnl_get_effective_cpu_isa());
    constexpr unsigned kBf16 = dnnl_cpu_isa_avx512_core_bf16;
    constexpr unsigned kAmx = static_cast<unsigned>(dnnl_cpu_isa_avx10_1_512_amx) & ~static_cast<unsigned>(dnnl_cpu_isa_avx10_1_512);
    return (isa & kBf16) == kBf16 && (isa & kAmx) == 0 ? &v4_bf16::bf16_panels : nullptr;
  }();
  return panels;
#else
  return nullptr;
#endif
}

// How the threads share a product of panels: in each block of columns and of k they pack B together, then take tiles of rows.
class PanelRun {
 public:
  PanelRun(const Panels &panels, const PanelProduct &product, int64_t threads) : panels_(panels), p_(product), threads_(threads) {
    column_blocks_ = ceil_div(p_.n, panels.block_columns);
    block_columns_ = round_up(ceil_div(p_.n, column_blocks_), panels.columns);
    column_blocks_ = ceil_div(p_.n, block_columns_);
    depth_blocks_ = ceil_div(p_.k, panels.depth);
    // Whole rounds of tiles for all threads; columns are cut too where there are few rows.
    const int64_t wanted = threads == 1 ? 1 : kTilesPerThread * threads;
    int64_t row_tiles = std::max(ceil_div(p_.m, panels.block_rows), std::min(wanted, ceil_div(p_.m, kFewestTileRows)));
    if (row_tiles > threads) row_tiles = round_up(row_tiles, threads);
    tile_rows_ = std::min(panels.block_rows, round_up(ceil_div(p_.m, row_tiles), panels.rows));
    row_tiles_ = ceil_div(p_.m, tile_rows_);
    const int64_t block_panels = block_columns_ / panels.columns;
    const int64_t column_tiles = std::min(block_panels, ceil_div(wanted, row_tiles_));
    tile_columns_ = ceil_div(block_panels, column_tiles) * panels.columns;
  }

  void run() {
    const int64_t words = panels_.words(std::min(p_.k, panels_.depth));
    const int64_t b_floats = words * block_columns_;
    const int64_t buffers = threads_ > 1 && blocks() > 1 ? 2 : 1;
    const int64_t a_floats = round_up(words * tile_rows_, 16);
    const int64_t partial_floats = p_.f32_c || depth_blocks_ == 1 ? 0 : p_.m * block_columns_;
    thread_local Scratch scratch;
    auto *b = static_cast<float *>(
        reserve(scratch, sizeof(float) * static_cast<size_t>(buffers * b_floats + round_up(partial_floats, 16) + threads_ * a_floats)));
    b_[0] = b;
    b_[1] = b + (buffers - 1) * b_floats;
    partial_ = partial_floats == 0 ? nullptr : b + buffers * b_floats;
    float *a = b + buffers * b_floats + round_up(partial_floats, 16);
    if (threads_ == 1) {
      for (int64_t i = 0; i < blocks(); ++i) {
        pack(i);
        multiply(i, a);
        next_panel_[i & 1] = next_tile_[i & 1] = 0;
      }
      return;
    }
#pragma omp parallel num_threads(static_cast <int>(threads_))
    {
      const int thread = omp_get_thread_num();
      pack(0);
      for (int64_t i = 0; i < blocks(); ++i) {
#pragma omp barrier
        // Between two barriers nobody reads the counters that the next interval uses.
        if (thread == 0) next_panel_[i & 1] = next_tile_[~i & 1] = 0;
        multiply(i, a + thread * a_floats);
        // Who is done first packs for the next block, into the buffer of the one before.
        if (i + 1 < blocks()) pack(i + 1);
      }
    }
  }

 private:
  int64_t blocks() const {
    return column_blocks_ * depth_blocks_;
  }

  PanelBlock block(int64_t i) const {
    const int64_t column = i / depth_blocks_ * block_columns_;
    const int64_t begin = i % depth_blocks_ * panels_.depth;
    return {begin, std::min(panels_.depth, p_.k - begin), column, std::min(block_columns_, p_.n - column), b_[i & 1], partial_, block_columns_};
  }

  void pack(int64_t i) {
    const PanelBlock block = this->block(i);
    const int64_t panels = ceil_div(block.columns, panels_.columns);
    for (int64_t panel; (panel = next_panel_[i & 1].fetch_add(1, std::memory_order_relaxed)) < panels;) {
      const int64_t column = panel * panels_.columns;
      panels_.pack_b(b_[i & 1] + column * panels_.words(block.depth), p_, block.begin, block.depth, block.column + column,
                     std::min(panels_.columns, block.columns - column));
    }
  }

  void multiply(int64_t i, float *a) {
    const PanelBlock block = this->block(i);
    const int64_t tiles = row_tiles_ * ceil_div(block.columns, tile_columns_);
    for (int64_t tile; (tile = next_tile_[i & 1].fetch_add(1, std::memory_order_relaxed)) < tiles;) {
      const int64_t row = tile % row_tiles_ * tile_rows_;
      const int64_t column = tile / row_tiles_ * tile_columns_;
      panels_.run(p_, block, row, std::min(tile_rows_, p_.m - row), block.column + column, std::min(tile_columns_, block.columns - column), a);
    }
  }

  const Panels &panels_;
  const PanelProduct &p_;
  int64_t threads_;
  int64_t column_blocks_, block_columns_, depth_blocks_, row_tiles_, tile_rows_, tile_columns_;
  float *b_[2];
  float *partial_;
  std::atomic<int64_t> next_panel_[2] = {};
  std::atomic<int64_t> next_tile_[2] = {};
};

void multiply_panels(const Panels &panels, const Product &p) {
  const PanelProduct product{p.c,   p.a,   p.b,   p.bias,        p.m,           p.n,          p.k,
                             p.lda, p.ldb, p.ldc, p.transpose_a, p.transpose_b, p.accumulate, p.c_dtype == GATUN_F32};
  PanelRun(panels, product, p.m * p.n * p.k <= kSerialWork ? 1 : pool_threads()).run();
}

float widen(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// To nearest, ties to even; NaN stays NaN.
uint16_t narrow(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// dst [rows, columns] contiguous.
void widen_block(float *dst, const uint16_t *src, int64_t stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) dst[r * columns + j] = widen(src[r * stride + j]);
  }
}

void widened_tile(const Product &p, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  thread_local Scratch scratch;
  const int64_t block = std::min(p.k, kWidenedContraction);
  float *sum = static_cast<float *>(reserve(scratch, sizeof(float) * static_cast<size_t>(rows * columns + block * (rows + columns))));
  float *a = sum + rows * columns;
  float *b = a + block * rows;
  const auto *a_source = static_cast<const uint16_t *>(p.a) + p.a_offset(row);
  const auto *b_source = static_cast<const uint16_t *>(p.b) + p.b_offset(column);
  for (int64_t begin = 0; begin < p.k; begin += block) {
    const int64_t depth = std::min(block, p.k - begin);
    if (p.transpose_a) {
      widen_block(a, a_source + begin * p.lda, p.lda, depth, rows);
    } else {
      widen_block(a, a_source + begin, p.lda, rows, depth);
    }
    if (p.transpose_b) {
      widen_block(b, b_source + begin, p.ldb, columns, depth);
    } else {
      widen_block(b, b_source + begin * p.ldb, p.ldb, depth, columns);
    }
    sgemm(p.transpose_a, p.transpose_b, rows, columns, depth, a, p.transpose_a ? rows : depth, b, p.transpose_b ? depth : columns, begin > 0, sum,
          columns);
  }
  const auto *bias = static_cast<const uint16_t *>(p.bias);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      float value = sum[r * columns + j];
      if (bias != nullptr) value += widen(bias[column + j]);
      const int64_t target = p.c_offset(row + r, column + j);
      if (p.c_dtype == GATUN_F32) {
        float *c = static_cast<float *>(p.c) + target;
        *c = p.accumulate ? *c + value : value;
      } else {
        uint16_t *c = static_cast<uint16_t *>(p.c) + target;
        *c = narrow(p.accumulate ? widen(*c) + value : value);
      }
    }
  }
}

// The primitives of one bf16 product: for full and for last columns, for the steps of k and for the tail.
class Bf16Tiles {
 public:
  Bf16Tiles(const Product &p, const Tile &tile) : p_(p), tile_(tile) {
    // Only where partial sums stay f32, and where k is a number of tokens.
    tail_ = p.transpose_a && !p.transpose_b && p.c_dtype == GATUN_F32 ? p.k % kContractionStep : 0;
    const int64_t whole = p.k - tail_;
    const int64_t last = p.n % tile.columns;
    const int64_t static_rows = p.m <= kMaxStaticRows ? p.m : 0;
    // oneDNN 3.13 on AMX takes the stride of A for k where the number of rows is open (found by matmul_test.cpp).
    compact_ = static_rows == 0 && !p.transpose_a && p.lda != p.k;
    for (int64_t columns : {tile.columns, last}) {
      if (columns == 0) continue;
      const int i = columns == tile.columns ? 0 : 1;
      if (whole > 0) {
        whole_[i] = products().get({static_rows, columns, whole, compact_ ? p.k : p.lda, p.ldb, p.ldc, p.c_dtype, p.transpose_a, p.transpose_b,
                                    p.accumulate, p.bias != nullptr});
      }
      if (tail_ > 0) {
        tail_products_[i] = products().get({static_rows, columns, kContractionStep, tile.rows, columns, p.ldc, p.c_dtype, true, false,
                                            p.accumulate || whole > 0, p.bias != nullptr && whole == 0});
      }
    }
  }

  void run(int64_t row, int64_t column, int64_t rows, int64_t columns) const {
    const int i = columns == tile_.columns ? 0 : 1;
    const int64_t c_bytes = p_.c_dtype == GATUN_F32 ? 4 : 2;
    void *c = at(p_.c, p_.c_offset(row, column), c_bytes);
    const auto *a = static_cast<const uint16_t *>(p_.a) + p_.a_offset(row);
    const auto *b = static_cast<const uint16_t *>(p_.b) + p_.b_offset(column);
    const void *bias = p_.bias == nullptr ? nullptr : at(p_.bias, column, 2);
    thread_local Scratch scratch;
    if (compact_) {
      auto *a_compact = static_cast<uint16_t *>(reserve(scratch, 2 * static_cast<size_t>(rows * p_.k)));
      for (int64_t r = 0; r < rows; ++r) std::memcpy(a_compact + r * p_.k, a + r * p_.lda, 2 * static_cast<size_t>(p_.k));
      a = a_compact;
    }
    if (whole_[i]) whole_[i]->execute(rows, c, a, b, bias);
    if (tail_ > 0) {
      const int64_t whole = p_.k - tail_;
      auto *a_padded = static_cast<uint16_t *>(reserve(scratch, 2 * kContractionStep * static_cast<size_t>(tile_.rows + columns)));
      uint16_t *b_padded = a_padded + kContractionStep * tile_.rows;
      pad(a_padded, tile_.rows, a + whole * p_.lda, p_.lda, rows);
      pad(b_padded, columns, b + whole * p_.ldb, p_.ldb, columns);
      tail_products_[i]->execute(rows, c, a_padded, b_padded, bias);
    }
  }

 private:
  // dst [kContractionStep, dst_stride] = the tail's rows of src, then zeros.
  void pad(uint16_t *dst, int64_t dst_stride, const uint16_t *src, int64_t src_stride, int64_t columns) const {
    for (int64_t r = 0; r < kContractionStep; ++r) {
      if (r < tail_) {
        std::memcpy(dst + r * dst_stride, src + r * src_stride, 2 * static_cast<size_t>(columns));
      } else {
        std::memset(dst + r * dst_stride, 0, 2 * static_cast<size_t>(columns));
      }
    }
  }

  const Product &p_;
  Tile tile_;
  int64_t tail_;
  bool compact_;
  std::shared_ptr<const Bf16Product> whole_[2];
  std::shared_ptr<const Bf16Product> tail_products_[2];
};

// Whether oneDNN multiplies bf16 on this machine.
bool has_bf16_products() {
  static const bool result = [] {
    try {
      const Bf16Product probe({0, 64, 64, 64, 64, 64, GATUN_F32, false, true, false, false});
      return true;
    } catch (const dnnl::error &) {
      return false;
    }
  }();
  return result;
}

void run_tiles(const Product &p, const Tile &tile, const std::function<void(int64_t, int64_t, int64_t, int64_t)> &run) {
  const int64_t row_tiles = ceil_div(p.m, tile.rows);
  const int64_t tiles = row_tiles * ceil_div(p.n, tile.columns);
  const bool serial = tiles == 1 || pool_threads() == 1 || p.m * p.n * p.k <= kSerialWork;
  const auto run_tile = [&](int64_t i) {
    const int64_t row = i % row_tiles * tile.rows;  // tiles that follow each other share columns of B
    const int64_t column = i / row_tiles * tile.columns;
    run(row, column, std::min(tile.rows, p.m - row), std::min(tile.columns, p.n - column));
  };
  if (serial) {
    const SequentialScope sequential;
    for (int64_t i = 0; i < tiles; ++i) run_tile(i);
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel num_threads(pool_threads())
  {
    const SequentialScope sequential;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < tiles; ++i) {
      try {
        run_tile(i);
      } catch (...) {
#pragma omp critical(gatun_matmul_failure)
        failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void matmul(const Product &p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.ab_dtype == GATUN_F32) {
    if (p.m < kFewRows) {
      run_tiles(p, cut(p.m, p.n), [&p](auto... tile) { few_rows_tile(p, tile...); });
    } else {
      multiply_panels(f32_panels(), p);
    }
  } else if (const Panels *panels = bf16_panels(); panels != nullptr && p.m >= kFewRows) {
    multiply_panels(*panels, p);
  } else if (has_bf16_products()) {
    const Tile tile = cut(p.m, p.n);
    const SequentialScope sequential;  // a primitive is made for as many threads as its maker has
    const Bf16Tiles tiles(p, tile);
    run_tiles(p, tile, [&tiles](auto... t) { tiles.run(t...); });
  } else {
    run_tiles(p, cut(p.m, p.n), [&p](auto... tile) { widened_tile(p, tile...); });
  }
}

void check(const Product &p, float beta) {
  check_extent("m", p.m);
  check_extent("n", p.n);
  check_positive("k", p.k);
  if (p.m == 0 || p.n == 0) return;
  check_pointer("c", p.c);
  check_pointer("a", p.a);
  check_pointer("b", p.b);
  check_stride("lda", p.lda, p.transpose_a ? p.m : p.k);
  check_stride("ldb", p.ldb, p.transpose_b ? p.k : p.n);
  check_stride("ldc", p.ldc, p.n);
  if (beta != 0.0f && beta != 1.0f) invalid("beta is %g, expected 0 or 1", static_cast<double>(beta));
  if (p.ab_dtype != GATUN_F32 && p.ab_dtype != GATUN_BF16) {
    invalid_dtype("ab_dtype", p.ab_dtype, "0 (f32) or 1 (bf16)");
  }
  if (p.c_dtype != GATUN_F32 && !(p.c_dtype == GATUN_BF16 && p.ab_dtype == GATUN_BF16)) {
    invalid_dtype("c_dtype", p.c_dtype, "0 (f32), or 1 (bf16) when ab_dtype is bf16 too");
  }
}

}  // namespace
}  // namespace gatun

extern "C" __attribute__((visibility("default"))) int32_t gatun_cpu_matmul(void *c, const void *a, const void *b, const void *bias, int64_t m,
                                                                           int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc,
                                                                           int32_t transpose_a, int32_t transpose_b, float beta, int32_t ab_dtype,
                                                                           int32_t c_dtype) {
  try {
    const gatun::Product product{c, a, b, bias, m, n, k, lda, ldb, ldc, transpose_a != 0, transpose_b != 0, beta != 0.0f, ab_dtype, c_dtype};
    gatun::check(product, beta);
    gatun::matmul(product);
    return GATUN_OK;
  } catch (...) {
    return gatun::remember_failure("gatun_cpu_matmul");
  }
}
