/*
 * cublaslt.cpp: cuBLASLt of the emulated GPU: D = alpha op(A) op(B) + beta C + bias, from the real descriptors.
 *
 * Known: CUBLAS_COMPUTE_32F and _FAST_TF32 (operands f32, rounded to TF32), scale type f32; A and B both f32 or both bf16; C and D both f32,
 * or, with bf16 operands, both bf16; column and row order; one matrix per call; epilogues DEFAULT and BIAS; alpha and beta in host memory.
 * The rest is refused with CUBLAS_STATUS_NOT_SUPPORTED.
 *
 * Stricter than cuBLASLt, since finding misuse is what this is for: an algo belongs to one problem and to the alignments that it was asked
 * for; A, B, C, D, the bias and the workspace lie in device memory, and what is written overlaps nothing that is read (but C == D). An
 * algo's workspace holds NaN afterwards. The heuristic's first choice reduces in the type of D, which for bf16 costs accuracy, unless the
 * preference's mask forbids it; the choices differ in their sums, as on a GPU.
 *
 * Sums are in f32, over k in ascending order within each split of k: results do not depend on the number of threads.
 */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cublaslt_api.h"
#include "handles.h"
#include "stream.h"

namespace gatun::simt {
namespace {

using doubles::Handles;
using doubles::Kind;
using doubles::text;

struct Refusal {
  cublasStatus_t status;
  std::string text;
};

[[noreturn]] void invalid(std::string why) {
  throw Refusal{CUBLAS_STATUS_INVALID_VALUE, std::move(why)};
}
[[noreturn]] void unsupported(std::string why) {
  throw Refusal{CUBLAS_STATUS_NOT_SUPPORTED, std::move(why)};
}

struct LastRefusal {
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  std::string text;
  std::string shown;  // owned text of cublasLtGetStatusString
};
LastRefusal &last_refusal() {
  thread_local LastRefusal last;
  return last;
}

template <class Body>
cublasStatus_t call(const char *name, const Body &body) {
  try {
    body();
    return CUBLAS_STATUS_SUCCESS;
  } catch (const Refusal &refusal) {
    last_refusal().text = text(name, ": ", refusal.text);
    return last_refusal().status = refusal.status;
  } catch (const std::bad_alloc &) {
    last_refusal().text = text(name, ": the host is out of memory");
    return last_refusal().status = CUBLAS_STATUS_ALLOC_FAILED;
  } catch (const std::exception &e) {
    last_refusal().text = text(name, ": ", e.what());
    return last_refusal().status = CUBLAS_STATUS_INTERNAL_ERROR;
  }
}

struct StatusName {
  cublasStatus_t status;
  const char *name;
  const char *text;
};
constexpr StatusName kStatuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed to the function"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "the function requires an architectural feature absent from the device"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "an access to GPU memory space failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the GPU program failed to execute"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality requested is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "the functionality requested requires some license"},
};

// Descriptors.

struct MatrixLayout {
  uint32_t type;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows;
  uint64_t cols;
  int64_t ld;
  int32_t batch_count = 1;
  int64_t batch_offset = 0;
};

struct MatmulDesc {
  int32_t compute_type;
  int32_t scale_type;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  int32_t transa = CUBLAS_OP_N;
  int32_t transb = CUBLAS_OP_N;
  int32_t transc = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void *bias = nullptr;
  int32_t sm_count = 0;
  int32_t bias_type = -1;  // that of D
};

struct MatmulPreference {
  uint32_t search_mode = CUBLASLT_SEARCH_BEST_FIT;
  uint64_t max_workspace = 0;
  uint32_t reduction_mask = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
  float max_waves = 0;                           // no limit
};

struct Context {};

Handles<Context, Kind::kLtHandle> &contexts() {
  static auto &all = *new Handles<Context, Kind::kLtHandle>();
  return all;
}
Handles<MatrixLayout, Kind::kMatrixLayout> &layouts() {
  static auto &all = *new Handles<MatrixLayout, Kind::kMatrixLayout>();
  return all;
}
Handles<MatmulDesc, Kind::kMatmulDesc> &descs() {
  static auto &all = *new Handles<MatmulDesc, Kind::kMatmulDesc>();
  return all;
}
Handles<MatmulPreference, Kind::kMatmulPreference> &preferences() {
  static auto &all = *new Handles<MatmulPreference, Kind::kMatmulPreference>();
  return all;
}

template <class Object, Kind kind>
std::shared_ptr<Object> get(const Handles<Object, kind> &handles, const void *handle, const char *name) {
  std::shared_ptr<Object> object = handles.find(handle);
  if (object == nullptr) invalid(text(name, ": ", handles.why_not(handle)));
  return object;
}

void check_context(cublasLtHandle_t handle) {
  if (contexts().find(handle) == nullptr) throw Refusal{CUBLAS_STATUS_NOT_INITIALIZED, text("lightHandle: ", contexts().why_not(handle))};
}

void check_result(const void *result, const char *name) {
  if (result == nullptr) invalid(text(name, " is NULL, expected where to store the result"));
}

/** Takes over an attribute's new value, which has the size of the field. */
template <class Field>
void set(Field &field, const void *buf, size_t bytes) {
  if (buf == nullptr) invalid("buf is NULL, expected the attribute's value");
  if (bytes != sizeof field) invalid(text("sizeInBytes is ", bytes, ", expected ", sizeof field, ", the size of this attribute"));
  std::memcpy(&field, buf, bytes);
}

// Problems.

size_t size_of(uint32_t type) {
  return type == CUDA_R_32F ? 4 : 2;
}

struct Problem {
  MatmulDesc desc;
  MatrixLayout a, b, c, d;
  int64_t m, n, k;

  uint32_t bias_type() const { return desc.bias_type < 0 ? d.type : static_cast<uint32_t>(desc.bias_type); }
  bool has_bias() const { return desc.epilogue == CUBLASLT_EPILOGUE_BIAS; }
};

std::string shape(const char *name, const MatrixLayout &x) {
  return text(name, " is ", x.rows, " x ", x.cols, " with ld ", x.ld);
}

void check_layout(const char *name, const MatrixLayout &x) {
  if (x.type != CUDA_R_32F && x.type != CUDA_R_16BF)
    unsupported(text(name, " has type ", x.type, ", the emulated device knows CUDA_R_32F (0) and CUDA_R_16BF (14)"));
  if (x.order != CUBLASLT_ORDER_COL && x.order != CUBLASLT_ORDER_ROW)
    unsupported(text(name, " has order ", x.order, ", the emulated device knows COL (0) and ROW (1)"));
  if (x.batch_count != 1) unsupported(text(name, " has batch count ", x.batch_count, ", the emulated device knows 1"));
  constexpr uint64_t kLimit = 0x7fffffff;
  if (x.rows < 1 || x.cols < 1 || x.rows > kLimit || x.cols > kLimit) invalid(text(shape(name, x), ", expected rows and columns of 1 to 2^31 - 1"));
  const uint64_t run = x.order == CUBLASLT_ORDER_COL ? x.rows : x.cols;
  if (x.ld < static_cast<int64_t>(run)) invalid(text(shape(name, x), ", expected ld of at least ", run));
  if (x.ld > int64_t{1} << 40) invalid(text(shape(name, x), ", expected ld of at most 2^40"));
}

Problem problem_of(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                   cublasLtMatrixLayout_t d) {
  Problem p{*get(descs(), desc, "matmul descriptor"),
            *get(layouts(), a, "Adesc"),
            *get(layouts(), b, "Bdesc"),
            *get(layouts(), c, "Cdesc"),
            *get(layouts(), d, "Ddesc"),
            0,
            0,
            0};
  const MatmulDesc &op = p.desc;
  check_layout("A", p.a);
  check_layout("B", p.b);
  check_layout("C", p.c);
  check_layout("D", p.d);
  const bool tf32 = op.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32;
  if (op.compute_type != CUBLAS_COMPUTE_32F && !tf32) {
    unsupported(text("compute type is ", op.compute_type, ", the emulated device knows CUBLAS_COMPUTE_32F (68) and _32F_FAST_TF32 (77)"));
  }
  if (op.scale_type != CUDA_R_32F) unsupported(text("scale type is ", op.scale_type, ", the emulated device knows CUDA_R_32F (0)"));
  if (op.pointer_mode != CUBLASLT_POINTER_MODE_HOST) unsupported(text("pointer mode is ", op.pointer_mode, ", the emulated device knows HOST (0)"));
  for (const int32_t trans : {op.transa, op.transb}) {
    if (trans != CUBLAS_OP_N && trans != CUBLAS_OP_T && trans != CUBLAS_OP_C)
      invalid(text("a transpose is ", trans, ", expected 0 (N), 1 (T) or 2 (C)"));
  }
  if (op.transc != CUBLAS_OP_N) unsupported(text("transpose of C is ", op.transc, ", expected 0 (N)"));
  if (op.epilogue != CUBLASLT_EPILOGUE_DEFAULT && op.epilogue != CUBLASLT_EPILOGUE_BIAS) {
    unsupported(text("epilogue is ", op.epilogue, ", the emulated device knows DEFAULT (1) and BIAS (4)"));
  }
  if (p.a.type != p.b.type || p.c.type != p.d.type || (p.a.type == CUDA_R_32F && p.d.type != CUDA_R_32F) || (tf32 && p.a.type != CUDA_R_32F)) {
    unsupported(
        text("types of A, B, C, D are ", p.a.type, ", ", p.b.type, ", ", p.c.type, ", ", p.d.type,
             tf32 ? ", expected all CUDA_R_32F (0) for FAST_TF32" : ", expected A and B alike, C and D alike, and f32 results of f32 operands"));
  }
  if (p.has_bias() && p.bias_type() != p.d.type) unsupported(text("bias type is ", op.bias_type, ", expected that of D, ", p.d.type));
  if (p.has_bias() && p.d.order == CUBLASLT_ORDER_ROW) unsupported("BIAS with D in row order");

  const bool ta = op.transa != CUBLAS_OP_N, tb = op.transb != CUBLAS_OP_N;
  p.m = static_cast<int64_t>(ta ? p.a.cols : p.a.rows);
  p.k = static_cast<int64_t>(ta ? p.a.rows : p.a.cols);
  p.n = static_cast<int64_t>(tb ? p.b.rows : p.b.cols);
  const int64_t k_of_b = static_cast<int64_t>(tb ? p.b.cols : p.b.rows);
  if (p.k != k_of_b) {
    invalid(text(shape("A", p.a), ta ? " (transposed), " : ", ", shape("B", p.b), tb ? " (transposed)" : "", ": their inner extents are ", p.k,
                 " and ", k_of_b, ", expected equal"));
  }
  const std::pair<const char *, const MatrixLayout *> results[] = {{"C", &p.c}, {"D", &p.d}};
  for (const auto &[name, x] : results) {
    if (static_cast<int64_t>(x->rows) != p.m || static_cast<int64_t>(x->cols) != p.n) invalid(text(shape(name, *x), ", expected ", p.m, " x ", p.n));
  }
  return p;
}

/** FNV-1a over 8-byte words. */
uint64_t hash(const uint64_t *words, size_t count) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; ++i) h = (h ^ words[i]) * 0x100000001b3u;
  return h;
}

/** Of all that an algo is chosen by, so not of pointers. */
uint64_t hash(const Problem &p) {
  std::vector<uint64_t> words;
  const MatmulDesc &op = p.desc;
  for (const int32_t x : {op.compute_type, op.scale_type, op.pointer_mode, op.transa, op.transb, op.transc, static_cast<int32_t>(op.epilogue)}) {
    words.push_back(static_cast<uint64_t>(x));
  }
  if (p.has_bias()) words.push_back(p.bias_type());
  for (const MatrixLayout *x : {&p.a, &p.b, &p.c, &p.d}) {
    for (const uint64_t word : {uint64_t{x->type}, static_cast<uint64_t>(x->order), x->rows, x->cols, static_cast<uint64_t>(x->ld)})
      words.push_back(word);
  }
  return hash(words.data(), words.size());
}

// Algorithms.

struct Candidate {
  uint64_t workspace;
  uint32_t alignment;  // of pointers and leading dimensions, in bytes; 1: that of an element
  uint32_t scheme;     // cublasLtReductionScheme_t
  int splits;          // of k
  float waves;         // relative to one tile per multiprocessor
};
constexpr Candidate kCandidates[] = {
    {2u << 20, 16, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, 2, 0.5f},
    {4u << 20, 16, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2, 0.625f},
    {0, 16, CUBLASLT_REDUCTION_SCHEME_NONE, 1, 1.0f},
    {64u << 10, 16, CUBLASLT_REDUCTION_SCHEME_INPLACE, 3, 1.25f},
    {32u << 20, 16, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 4, 1.5f},
    {0, 4, CUBLASLT_REDUCTION_SCHEME_NONE, 1, 2.0f},
    {0, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 1, 4.0f},
};
constexpr uint64_t kCandidateCount = sizeof kCandidates / sizeof kCandidates[0];

/** What the emulation keeps in a cublasLtMatmulAlgo_t. */
constexpr uint64_t kMark = 0x6e7574616774736dull;
enum AlgoWord { kAlgoMark, kAlgoCandidate, kAlgoProblem, kAlgoAlignments, kAlgoCheck = 7 };

float waves_of(const Problem &p, const Candidate &candidate) {
  constexpr int64_t kTile = 128, kMultiprocessors = 132;
  const int64_t tiles = ((p.m + kTile - 1) / kTile) * ((p.n + kTile - 1) / kTile);
  return static_cast<float>(tiles * candidate.splits) / kMultiprocessors * candidate.waves;
}

bool fits(const Problem &p, const MatmulPreference &wish, const Candidate &candidate) {
  if (candidate.workspace > wish.max_workspace) return false;
  if (candidate.scheme != CUBLASLT_REDUCTION_SCHEME_NONE && (candidate.scheme & wish.reduction_mask) == 0) return false;
  if (candidate.splits > p.k) return false;
  if (wish.max_waves > 0 && waves_of(p, candidate) > wish.max_waves) return false;
  const MatrixLayout *matrices[] = {&p.a, &p.b, &p.c, &p.d};
  for (int i = 0; i < 4; ++i) {
    const uint64_t stride = static_cast<uint64_t>(matrices[i]->ld) * size_of(matrices[i]->type);
    if (wish.alignment[i] % candidate.alignment != 0 || stride % candidate.alignment != 0) return false;
  }
  return !p.has_bias() || reinterpret_cast<uintptr_t>(p.desc.bias) % candidate.alignment == 0;
}

cublasLtMatmulAlgo_t algo_of(const Problem &p, const MatmulPreference &wish, uint64_t candidate) {
  cublasLtMatmulAlgo_t algo{};
  algo.data[kAlgoMark] = kMark;
  algo.data[kAlgoCandidate] = candidate;
  algo.data[kAlgoProblem] = hash(p);
  for (int i = 0; i < 4; ++i) algo.data[kAlgoAlignments] |= uint64_t{wish.alignment[i]} << (16 * i);
  algo.data[kAlgoCheck] = hash(algo.data, kAlgoCheck);
  return algo;
}

/** The candidate, after the algo was found to be one of the heuristic's for this problem and these pointers. */
const Candidate &candidate_of(const cublasLtMatmulAlgo_t &algo, const Problem &p, const void *const (&pointers)[4]) {
  if (algo.data[kAlgoMark] != kMark || algo.data[kAlgoCheck] != hash(algo.data, kAlgoCheck) || algo.data[kAlgoCandidate] >= kCandidateCount) {
    invalid("algo is not one that cublasLtMatmulAlgoGetHeuristic of this device returned");
  }
  if (algo.data[kAlgoProblem] != hash(p)) invalid("algo was chosen for another descriptor or other layouts");
  for (int i = 0; i < 4; ++i) {
    const uint64_t claimed = algo.data[kAlgoAlignments] >> (16 * i) & 0xffff;
    if (reinterpret_cast<uintptr_t>(pointers[i]) % claimed != 0) {
      invalid(text("ABCD"[i], " = ", pointers[i], " is not aligned to ", claimed,
                   " bytes, which the algo was chosen for: set CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_", "ABCD"[i], "_BYTES"));
    }
  }
  const Candidate &candidate = kCandidates[algo.data[kAlgoCandidate]];
  if (p.has_bias() && reinterpret_cast<uintptr_t>(p.desc.bias) % candidate.alignment != 0) {
    invalid(text("bias = ", p.desc.bias, " is not aligned to ", candidate.alignment,
                 " bytes, which the algo needs: set it before the heuristic is asked"));
  }
  return candidate;
}

// Memory.

/** Runs of `run` bytes, `stride` bytes apart, of `bytes` in all. */
struct Range {
  const char *name;
  const void *begin;
  size_t bytes;
  size_t run;
  size_t stride;
};

Range range_of(const char *name, const void *begin, const MatrixLayout &x) {
  const bool columns = x.order == CUBLASLT_ORDER_COL;
  const uint64_t run = columns ? x.rows : x.cols, runs = columns ? x.cols : x.rows, ld = static_cast<uint64_t>(x.ld);
  const size_t element = size_of(x.type);
  return {name, begin, (ld * (runs - 1) + run) * element, run * element, ld * element};
}

Range range_of(const char *name, const void *begin, size_t bytes) {
  return {name, begin, bytes, bytes, bytes};
}

/** Whether the ranges share a byte. Slices of one buffer with one stride may lie between each other. */
bool overlap(const Range &x, const Range &y) {
  const uintptr_t p = reinterpret_cast<uintptr_t>(x.begin), q = reinterpret_cast<uintptr_t>(y.begin);
  if (p >= q + y.bytes || q >= p + x.bytes) return false;
  if (x.stride != y.stride) return true;
  const size_t offset = q >= p ? (q - p) % x.stride : (x.stride - (p - q) % x.stride) % x.stride;
  return offset < x.run || offset + y.run > x.stride;
}

/** The first of the ranges that is not device memory. */
std::optional<std::string> outside_device(const std::vector<Range> &ranges) {
  for (const Range &range : ranges) {
    if (is_device_memory(range.begin, range.bytes)) continue;
    return text(range.name, " = ", range.begin, " + ", range.bytes, " bytes ", describe(range.begin, range.bytes), ", expected device memory");
  }
  return std::nullopt;
}

// The product. Panels of op(A) are [k][kRows], of op(B) [k][kColumns], f32, zero beyond the matrix.

constexpr int64_t kRows = 16, kColumns = 6;
typedef float Vector __attribute__((vector_size(kRows * sizeof(float))));

struct Strides {
  int64_t row, column;  // in elements
};
Strides strides_of(const MatrixLayout &x, bool transposed) {
  const Strides s = x.order == CUBLASLT_ORDER_COL ? Strides{1, x.ld} : Strides{x.ld, 1};
  return transposed ? Strides{s.column, s.row} : s;
}

float load(const void *data, uint32_t type, int64_t index) {
  if (type == CUDA_R_32F) return static_cast<const float *>(data)[index];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t *>(data)[index]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/** To the nearest of 8 significant bits, ties to even. */
uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float rounded(float x, uint32_t type) {
  return type == CUDA_R_32F ? x : of_bits(uint32_t{to_bf16(x)} << 16);
}

/** To the nearest of 11 significant bits, ties away from zero, as cvt.rna.tf32.f32. */
float to_tf32(float x) {
  return std::isfinite(x) ? of_bits((bits_of(x) + 0x1000) & 0xffffe000u) : x;
}

void store(void *data, uint32_t type, int64_t index, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float *>(data)[index] = value;
  } else {
    static_cast<uint16_t *>(data)[index] = to_bf16(value);
  }
}

/** Panel number `panel` of `width` rows of x, whose rows are s.row apart and whose `depth` columns s.column. */
void pack(float *panel, int64_t first, int64_t width, int64_t extent, int64_t depth, const void *data, uint32_t type, Strides s, bool tf32) {
  for (int64_t j = 0; j < depth; ++j) {
    for (int64_t i = 0; i < width; ++i) {
      float value = first + i < extent ? load(data, type, (first + i) * s.row + j * s.column) : 0;
      if (tf32) value = to_tf32(value);
      panel[j * width + i] = value;
    }
  }
}

/** tile[column] = the sum over [0, depth) of a[k] b[k][column]. */
void multiply(const float *a, const float *b, int64_t depth, Vector (&tile)[kColumns]) {
  Vector sum[kColumns] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vector rows;
    std::memcpy(&rows, a + k * kRows, sizeof rows);
#pragma GCC unroll 6
    for (int64_t j = 0; j < kColumns; ++j) sum[j] += rows * b[k * kColumns + j];
  }
  for (int64_t j = 0; j < kColumns; ++j) tile[j] = sum[j];
}

void matmul(const Problem &p, const Candidate &candidate, float alpha, const void *a, const void *b, float beta, const void *c, void *d) {
  const bool tf32 = p.desc.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32;
  const int64_t row_panels = (p.m + kRows - 1) / kRows, column_panels = (p.n + kColumns - 1) / kColumns;
  std::vector<float> packed_a(static_cast<size_t>(row_panels * kRows * p.k)), packed_b(static_cast<size_t>(column_panels * kColumns * p.k));
  const Strides of_a = strides_of(p.a, p.desc.transa != CUBLAS_OP_N), of_b = strides_of(p.b, p.desc.transb == CUBLAS_OP_N);
  const Strides of_c = strides_of(p.c, false), of_d = strides_of(p.d, false);
  const int64_t chunk = (p.k + candidate.splits - 1) / candidate.splits;
  // OUTPUT_TYPE and INPLACE keep the partial sums in the type of D.
  const bool keep_f32 = candidate.scheme == CUBLASLT_REDUCTION_SCHEME_NONE || candidate.scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  const uint32_t partial_type = keep_f32 ? static_cast<uint32_t>(CUDA_R_32F) : p.d.type;
#pragma omp parallel if (p.m * p.n * p.k > 32768)
  {
#pragma omp for
    for (int64_t i = 0; i < row_panels; ++i) pack(packed_a.data() + i * kRows * p.k, i * kRows, kRows, p.m, p.k, a, p.a.type, of_a, tf32);
#pragma omp for
    for (int64_t j = 0; j < column_panels; ++j) pack(packed_b.data() + j * kColumns * p.k, j * kColumns, kColumns, p.n, p.k, b, p.b.type, of_b, tf32);
#pragma omp for collapse(2)
    for (int64_t j = 0; j < column_panels; ++j) {
      for (int64_t i = 0; i < row_panels; ++i) {
        float sum[kColumns][kRows] = {};
        for (int64_t begin = 0; begin < p.k; begin += chunk) {
          Vector tile[kColumns];
          const float *rows = packed_a.data() + (i * p.k + begin) * kRows, *columns = packed_b.data() + (j * p.k + begin) * kColumns;
          multiply(rows, columns, std::min(chunk, p.k - begin), tile);
          for (int64_t y = 0; y < kColumns; ++y) {
            for (int64_t x = 0; x < kRows; ++x) {
              const float partial = candidate.splits == 1 ? tile[y][x] : rounded(tile[y][x], partial_type);
              sum[y][x] = begin == 0 ? partial : rounded(sum[y][x] + partial, partial_type);
            }
          }
        }
        for (int64_t y = 0; y < std::min(kColumns, p.n - j * kColumns); ++y) {
          for (int64_t x = 0; x < std::min(kRows, p.m - i * kRows); ++x) {
            const int64_t row = i * kRows + x, column = j * kColumns + y;
            float value = alpha * sum[y][x];
            if (beta != 0) value += beta * load(c, p.c.type, row * of_c.row + column * of_c.column);
            if (p.has_bias()) value += load(p.desc.bias, p.bias_type(), row);
            store(d, p.d.type, row * of_d.row + column * of_d.column, value);
          }
        }
      }
    }
  }
}

float host_scalar(const void *p, const char *name) {
  if (p == nullptr) invalid(text(name, " is NULL, expected a float in host memory"));
  if (is_device_memory(p, sizeof(float))) invalid(text(name, " = ", p, " is device memory, expected host memory: the pointer mode is HOST"));
  float value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace
}  // namespace gatun::simt

using namespace gatun::simt;
using gatun::doubles::text;

cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle) {
  return call("cublasLtCreate", [&] {
    check_result(lightHandle, "lightHandle");
    *lightHandle = static_cast<cublasLtHandle_t>(contexts().add(std::make_shared<Context>()));
  });
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle) {
  return call("cublasLtDestroy", [&] {
    check_context(lightHandle);
    contexts().remove(lightHandle);
  });
}

/** The version that the layouts and values here are of. */
size_t cublasLtGetVersion() {
  return 130101;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
  for (const StatusName &known : kStatuses) {
    if (known.status == status) return known.name;
  }
  return "unknown cuBLAS status";
}

/** Where the status is that of this thread's last refused call, what that was about is added; the result lives until the thread asks again. */
const char *cublasLtGetStatusString(cublasStatus_t status) {
  const char *general = "unknown cuBLAS status";
  for (const StatusName &known : kStatuses) {
    if (known.status == status) general = known.text;
  }
  LastRefusal &last = last_refusal();
  if (status == CUBLAS_STATUS_SUCCESS || status != last.status) return general;
  last.shown = text(general, ": ", last.text);
  return last.shown.c_str();
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld) {
  return call("cublasLtMatrixLayoutCreate", [&] {
    check_result(matLayout, "matLayout");
    auto layout = std::make_shared<MatrixLayout>();
    layout->type = type;
    layout->rows = rows;
    layout->cols = cols;
    layout->ld = ld;
    *matLayout = static_cast<cublasLtMatrixLayout_t>(layouts().add(std::move(layout)));
  });
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout) {
  return call("cublasLtMatrixLayoutDestroy", [&] {
    get(layouts(), matLayout, "matLayout");
    layouts().remove(matLayout);
  });
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout, cublasLtMatrixLayoutAttribute_t attr, const void *buf,
                                                size_t sizeInBytes) {
  return call("cublasLtMatrixLayoutSetAttribute", [&] {
    const std::shared_ptr<MatrixLayout> x = get(layouts(), matLayout, "matLayout");
    switch (attr) {
      case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return set(x->type, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return set(x->order, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return set(x->rows, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_COLS:
        return set(x->cols, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_LD:
        return set(x->ld, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return set(x->batch_count, buf, sizeInBytes);
      case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return set(x->batch_offset, buf, sizeInBytes);
    }
    unsupported(text("the emulated device does not know layout attribute ", attr));
  });
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc, cublasComputeType_t computeType, cudaDataType_t scaleType) {
  return call("cublasLtMatmulDescCreate", [&] {
    check_result(matmulDesc, "matmulDesc");
    auto desc = std::make_shared<MatmulDesc>();
    desc->compute_type = static_cast<int32_t>(computeType);
    desc->scale_type = static_cast<int32_t>(scaleType);
    *matmulDesc = static_cast<cublasLtMatmulDesc_t>(descs().add(std::move(desc)));
  });
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc) {
  return call("cublasLtMatmulDescDestroy", [&] {
    get(descs(), matmulDesc, "matmulDesc");
    descs().remove(matmulDesc);
  });
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc, cublasLtMatmulDescAttributes_t attr, const void *buf,
                                              size_t sizeInBytes) {
  return call("cublasLtMatmulDescSetAttribute", [&] {
    const std::shared_ptr<MatmulDesc> op = get(descs(), matmulDesc, "matmulDesc");
    switch (attr) {
      case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return set(op->compute_type, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
        return set(op->scale_type, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        return set(op->pointer_mode, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(op->transa, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(op->transb, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_TRANSC:
        return set(op->transc, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(op->epilogue, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(op->bias, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
        return set(op->sm_count, buf, sizeInBytes);
      case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return set(op->bias_type, buf, sizeInBytes);
    }
    unsupported(text("the emulated device does not know matmul attribute ", attr));
  });
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) {
  return call("cublasLtMatmulPreferenceCreate", [&] {
    check_result(pref, "pref");
    *pref = static_cast<cublasLtMatmulPreference_t>(preferences().add(std::make_shared<MatmulPreference>()));
  });
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
  return call("cublasLtMatmulPreferenceDestroy", [&] {
    get(preferences(), pref, "pref");
    preferences().remove(pref);
  });
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, const void *buf,
                                                    size_t sizeInBytes) {
  return call("cublasLtMatmulPreferenceSetAttribute", [&] {
    const std::shared_ptr<MatmulPreference> wish = get(preferences(), pref, "pref");
    switch (attr) {
      case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
        return set(wish->search_mode, buf, sizeInBytes);
      case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(wish->max_workspace, buf, sizeInBytes);
      case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(wish->reduction_mask, buf, sizeInBytes);
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: {
        uint32_t alignment;
        set(alignment, buf, sizeInBytes);
        if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 32768) {
          invalid(text("alignment is ", alignment, " bytes, expected a power of two from 1 to 32768"));
        }
        wish->alignment[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = alignment;
        return;
      }
      case CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT:
        return set(wish->max_waves, buf, sizeInBytes);
    }
    unsupported(text("the emulated device does not know preference ", attr));
  });
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc, cublasLtMatrixLayout_t Adesc,
                                              cublasLtMatrixLayout_t Bdesc, cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
                                              cublasLtMatmulPreference_t preference, int requestedAlgoCount,
                                              cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int *returnAlgoCount) {
  return call("cublasLtMatmulAlgoGetHeuristic", [&] {
    check_result(returnAlgoCount, "returnAlgoCount");
    *returnAlgoCount = 0;
    check_context(lightHandle);
    check_result(heuristicResultsArray, "heuristicResultsArray");
    if (requestedAlgoCount < 1) invalid(text("requestedAlgoCount is ", requestedAlgoCount, ", expected 1 or more"));
    const MatmulPreference wish = *get(preferences(), preference, "preference");
    if (wish.search_mode != CUBLASLT_SEARCH_BEST_FIT)
      unsupported(text("search mode is ", wish.search_mode, ", the emulated device knows BEST_FIT (0)"));
    const Problem p = problem_of(operationDesc, Adesc, Bdesc, Cdesc, Ddesc);
    for (uint64_t i = 0; i < kCandidateCount && *returnAlgoCount < requestedAlgoCount; ++i) {
      if (!fits(p, wish, kCandidates[i])) continue;
      heuristicResultsArray[(*returnAlgoCount)++] = {
          algo_of(p, wish, i), kCandidates[i].workspace, CUBLAS_STATUS_SUCCESS, waves_of(p, kCandidates[i]), {}};
    }
    if (*returnAlgoCount == 0) unsupported("no algorithm meets the preference");
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc, const void *alpha, const void *A,
                              cublasLtMatrixLayout_t Adesc, const void *B, cublasLtMatrixLayout_t Bdesc, const void *beta, const void *C,
                              cublasLtMatrixLayout_t Cdesc, void *D, cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspaceSizeInBytes, cudaStream_t stream) {
  return call("cublasLtMatmul", [&] {
    check_context(lightHandle);
    const Problem p = problem_of(computeDesc, Adesc, Bdesc, Cdesc, Ddesc);
    const float scale = host_scalar(alpha, "alpha"), scale_of_c = host_scalar(beta, "beta");
    std::vector<Range> read = {range_of("A", A, p.a), range_of("B", B, p.b)};
    if (C != D) read.push_back(range_of("C", C, p.c));
    if (p.has_bias()) read.push_back(range_of("bias", p.desc.bias, static_cast<size_t>(p.m) * size_of(p.bias_type())));
    std::vector<Range> written = {range_of("D", D, p.d)};
    if (workspaceSizeInBytes > 0) written.push_back(range_of("workspace", workspace, workspaceSizeInBytes));
    for (const std::vector<Range> *ranges : {&read, &written}) {
      if (const std::optional<std::string> why = outside_device(*ranges)) invalid(*why);
    }
    if (C == D && (p.c.ld != p.d.ld || p.c.order != p.d.order))
      invalid(text("C == D, but ", shape("C", p.c), " and ", shape("D", p.d), ", expected one layout"));
    for (size_t i = 0; i < written.size(); ++i) {
      for (const Range &other : read) {
        if (overlap(written[i], other)) invalid(text(written[i].name, " overlaps ", other.name));
      }
      for (size_t j = 0; j < i; ++j) {
        if (overlap(written[i], written[j])) invalid(text(written[i].name, " overlaps ", written[j].name));
      }
    }
    const std::pair<const void *, size_t> aligned[] = {{A, size_of(p.a.type)},
                                                       {B, size_of(p.b.type)},
                                                       {C, size_of(p.c.type)},
                                                       {D, size_of(p.d.type)},
                                                       {p.desc.bias, p.has_bias() ? size_of(p.bias_type()) : 1}};
    for (const auto &[pointer, element] : aligned) {
      if (reinterpret_cast<uintptr_t>(pointer) % element != 0) invalid(text(pointer, " is not aligned to its elements of ", element, " bytes"));
    }
    if (workspaceSizeInBytes > 0 && reinterpret_cast<uintptr_t>(workspace) % 256 != 0)
      invalid(text("workspace = ", workspace, " is not aligned to 256 bytes"));

    const void *const pointers[4] = {A, B, C, D};
    const Candidate *candidate = nullptr;
    if (algo != nullptr) {
      candidate = &candidate_of(*algo, p, pointers);
    } else {
      MatmulPreference wish;
      wish.max_workspace = workspaceSizeInBytes;
      for (int i = 0; i < 4; ++i) {
        const uintptr_t bits = reinterpret_cast<uintptr_t>(pointers[i]) | 256;
        wish.alignment[i] = static_cast<uint32_t>(bits & -bits);
      }
      for (const Candidate &each : kCandidates) {
        if (candidate == nullptr && fits(p, wish, each)) candidate = &each;
      }
      if (candidate == nullptr) unsupported("no algorithm for this problem and workspace");
    }
    if (candidate->workspace > workspaceSizeInBytes) {
      invalid(text("workspaceSizeInBytes is ", workspaceSizeInBytes, ", expected at least ", candidate->workspace, ", which the algo needs"));
    }

    std::vector<Range> touched = read;
    touched.insert(touched.end(), written.begin(), written.end());
    const int error = submit(stream, [=, chosen = *candidate] {
      if (const std::optional<std::string> why = outside_device(touched)) {
        fail(cudaErrorIllegalAddress, text("cublasLtMatmul ran when ", *why));
        return;
      }
      matmul(p, chosen, scale, A, B, scale_of_c, C, D);
      if (chosen.workspace > 0) std::memset(workspace, 0xff, chosen.workspace);
    });
    if (error != cudaSuccess)
      throw Refusal{CUBLAS_STATUS_EXECUTION_FAILED, text(cudaGetErrorName(static_cast<cudaError_t>(error)), ": ", last_error_text())};
  });
}
