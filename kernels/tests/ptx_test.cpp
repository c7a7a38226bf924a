/*
 * The emulation's twins of ptx.h: a warp runs each on the emulated device. Products are held to plain loops, fragments to the layouts of the
 * PTX ISA, written down here once more from its text, with its names (groupID, threadID_in_group, a_i, b_i, c_i).
 */
#include "ptx.h"

#include <vector>

#include "cuda_api.h"
#include "testing.h"

namespace gatun::testing {
namespace {

using simt::bf16;

constexpr int kLanes = 32;

/** Small integers, so that every sum is exact. */
std::vector<float> integers(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float &value : values) value = static_cast<float>(random.below(17) - 8);
  return values;
}

uint32_t pair_of(float low, float high) {
  return float_to_bf16(low) | static_cast<uint32_t>(float_to_bf16(high)) << 16;
}

template <class... P, class... A>
void run_warp(void (*kernel)(P...), A... arguments) {
  launch("ptx_test", kernel, dim3(1), dim3(kLanes), 0, nullptr, arguments...);
  CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess, "%s", cudaGetErrorString(cudaGetLastError()));
}

// ---- "Matrix Fragments for mma.m16n8k16 with floating point type" ----

int a_row(int lane, int i) {
  const int groupID = lane >> 2;
  return (0 <= i && i < 2) || (4 <= i && i < 6) ? groupID : groupID + 8;
}
int a_column(int lane, int i) {
  const int threadID_in_group = lane % 4;
  return i < 4 ? threadID_in_group * 2 + (i & 1) : threadID_in_group * 2 + (i & 1) + 8;
}
int b_row(int lane, int i) {
  const int threadID_in_group = lane % 4;
  return i < 2 ? threadID_in_group * 2 + (i & 1) : threadID_in_group * 2 + (i & 1) + 8;
}
int b_column(int lane, int) {
  const int groupID = lane >> 2;
  return groupID;
}
int c_row(int lane, int i) {
  const int groupID = lane >> 2;
  return i < 2 ? groupID : groupID + 8;
}
int c_column(int lane, int i) {
  const int threadID_in_group = lane % 4;
  return threadID_in_group * 2 + (i & 1);
}

struct Registers {
  uint32_t a[4], b[2];
  float c[4];
};

void mma_kernel(Registers *lanes) {
  Registers &r = lanes[threadIdx.x];
  simt::mma_m16n8k16(r.c, r.a, r.b[0], r.b[1]);
}

TEST(mma_is_the_product_of_its_fragments) {
  const std::vector<float> a = integers(16 * 16, 1), b = integers(16 * 8, 2), c = integers(16 * 8, 3);
  std::vector<Registers> lanes(kLanes);
  for (int lane = 0; lane < kLanes; ++lane) {
    Registers &r = lanes[static_cast<size_t>(lane)];
    const auto a_at = [&](int i) { return a[static_cast<size_t>(a_row(lane, i) * 16 + a_column(lane, i))]; };
    const auto b_at = [&](int i) { return b[static_cast<size_t>(b_row(lane, i) * 8 + b_column(lane, i))]; };
    for (int i = 0; i < 4; ++i) r.a[i] = pair_of(a_at(2 * i), a_at(2 * i + 1));
    for (int i = 0; i < 2; ++i) r.b[i] = pair_of(b_at(2 * i), b_at(2 * i + 1));
    for (int i = 0; i < 4; ++i) r.c[i] = c[static_cast<size_t>(c_row(lane, i) * 8 + c_column(lane, i))];
  }
  run_warp(mma_kernel, lanes.data());
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = c_row(lane, i), column = c_column(lane, i);
      float want = c[static_cast<size_t>(row * 8 + column)];
      for (int k = 0; k < 16; ++k) want += a[static_cast<size_t>(row * 16 + k)] * b[static_cast<size_t>(k * 8 + column)];
      CHECK(lanes[static_cast<size_t>(lane)].c[i] == want, "lane %d, c%d is %g, expected %g", lane, i,
            static_cast<double>(lanes[static_cast<size_t>(lane)].c[i]), static_cast<double>(want));
    }
  }
}

// ---- "ldmatrix" ----

struct Loaded {
  uint32_t plain[4], transposed[4];
};

/** Four matrices whose element (row, column) of matrix i is 64 i + 8 row + column; lane 8 i + r names row r of matrix i. */
void ldmatrix_kernel(Loaded *lanes) {
  GATUN_SHARED(matrices, uint4[kLanes]);
  uint16_t *elements = reinterpret_cast<uint16_t *>(matrices);
  for (unsigned i = threadIdx.x; i < 4 * 64; i += kLanes) elements[i] = static_cast<uint16_t>(i);
  __syncwarp();
  const simt::SharedAddress row = simt::shared_address(matrices + threadIdx.x);
  simt::ldmatrix_x4(lanes[threadIdx.x].plain, row);
  simt::ldmatrix_x4_trans(lanes[threadIdx.x].transposed, row);
}

TEST(ldmatrix_hands_out_rows_and_columns) {
  std::vector<Loaded> lanes(kLanes);
  run_warp(ldmatrix_kernel, lanes.data());
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      // Thread T gets elements 2 (T mod 4) and the next of row T / 4, in the low and the high half of register i.
      const uint32_t first = 64 * i + 8 * (lane / 4) + 2 * (lane % 4);
      CHECK(lanes[lane].plain[i] == (first | (first + 1) << 16), "lane %u, register %u is %08x", lane, i, lanes[lane].plain[i]);
      // With .trans, rows are columns: elements (2 (T mod 4), T / 4) and (2 (T mod 4) + 1, T / 4).
      const uint32_t upper = 64 * i + 8 * (2 * (lane % 4)) + lane / 4, lower = upper + 8;
      CHECK(lanes[lane].transposed[i] == (upper | lower << 16), "lane %u, transposed register %u is %08x", lane, i, lanes[lane].transposed[i]);
    }
  }
}

// ---- both together, as kernels use them ----

struct Product {
  float x_y[16][16];            /* x y */
  float x_y_transposed[16][16]; /* x y^T */
};

void product_kernel(Product *product, const bf16 *x, const bf16 *y) {
  GATUN_SHARED(x_tile, uint4[32]);
  GATUN_SHARED(y_tile, uint4[32]);
  const unsigned lane = threadIdx.x;
  simt::cp_async_16(simt::shared_address(x_tile + lane), x + 8 * lane, true);
  simt::cp_async_16(simt::shared_address(y_tile + lane), y + 8 * lane, true);
  simt::cp_async_commit();
  simt::cp_async_wait<0>();
  __syncwarp();
  uint32_t a[4], columns[4], rows[4];
  simt::ldmatrix_x4(a, simt::shared_address(x_tile + lane % 16 * 2 + lane / 16));
  simt::ldmatrix_x4(rows, simt::shared_address(y_tile + (lane % 8 + lane / 16 * 8) * 2 + lane / 8 % 2));
  simt::ldmatrix_x4_trans(columns, simt::shared_address(y_tile + lane % 16 * 2 + lane / 16));
  for (int half = 0; half < 2; ++half) {
    float c[4] = {}, t[4] = {};
    simt::mma_m16n8k16(c, a, columns[2 * half], columns[2 * half + 1]);
    simt::mma_m16n8k16(t, a, rows[2 * half], rows[2 * half + 1]);
    for (int i = 0; i < 4; ++i) {
      const int row = c_row(static_cast<int>(lane), i), column = 8 * half + c_column(static_cast<int>(lane), i);
      product->x_y[row][column] = c[i];
      product->x_y_transposed[row][column] = t[i];
    }
  }
}

TEST(tiles_are_multiplied_out_of_shared_memory) {
  const std::vector<float> x = integers(16 * 16, 4), y = integers(16 * 16, 5);
  alignas(16) bf16 x_stored[16 * 16], y_stored[16 * 16];
  for (size_t i = 0; i < 16 * 16; ++i) {
    x_stored[i].bits = float_to_bf16(x[i]);
    y_stored[i].bits = float_to_bf16(y[i]);
  }
  Product product;
  run_warp(product_kernel, &product, x_stored, y_stored);
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 16; ++column) {
      float plain = 0, transposed = 0;
      for (size_t k = 0; k < 16; ++k) {
        plain += x[row * 16 + k] * y[k * 16 + column];
        transposed += x[row * 16 + k] * y[column * 16 + k];
      }
      CHECK(product.x_y[row][column] == plain, "x y [%zu][%zu]", row, column);
      CHECK(product.x_y_transposed[row][column] == transposed, "x y^T [%zu][%zu]", row, column);
    }
  }
}

// ---- cp.async ----

struct Seen {
  uint32_t issued[4], oldest_group[4], all[4];
};

/** Words 0 and 2 belong to the first group, 1 and 3 to the second; 2 and 3 are to become zeros. */
void copy_kernel(Seen *seen, const uint32_t *source) {
  GATUN_SHARED(words, uint32_t[4][kLanes]);
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 4; ++i) words[i][lane] = 7;
  const auto look = [&](uint32_t(&into)[4]) {
    for (unsigned i = 0; i < 4; ++i) into[i] = words[i][lane];
  };
  for (unsigned group = 0; group < 2; ++group) {
    simt::cp_async_4(simt::shared_address(&words[group][lane]), source + group * kLanes + lane, true);
    simt::cp_async_4(simt::shared_address(&words[2 + group][lane]), source, false);
    simt::cp_async_commit();
  }
  look(seen[lane].issued);
  simt::cp_async_wait<1>();
  look(seen[lane].oldest_group);
  simt::cp_async_wait<0>();
  look(seen[lane].all);
}

TEST(copies_arrive_when_they_are_waited_for) {
  std::vector<uint32_t> source(2 * kLanes);
  for (uint32_t i = 0; i < 2 * kLanes; ++i) source[i] = 1000 + i;
  std::vector<Seen> seen(kLanes);
  run_warp(copy_kernel, seen.data(), static_cast<const uint32_t *>(source.data()));
  constexpr uint32_t kLost = 0xffffffff;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t first = 1000 + lane, second = first + kLanes;
    const uint32_t issued[4] = {kLost, kLost, kLost, kLost}, oldest_group[4] = {first, kLost, 0, kLost}, all[4] = {first, second, 0, 0};
    for (int i = 0; i < 4; ++i) {
      CHECK(seen[lane].issued[i] == issued[i], "lane %u, word %d after it was issued: %u", lane, i, seen[lane].issued[i]);
      CHECK(seen[lane].oldest_group[i] == oldest_group[i], "lane %u, word %d after the first group: %u", lane, i, seen[lane].oldest_group[i]);
      CHECK(seen[lane].all[i] == all[i], "lane %u, word %d after all: %u", lane, i, seen[lane].all[i]);
    }
  }
}

// ---- ex2 ----

void power_kernel(float *y, const float *x) {
  y[threadIdx.x] = simt::ex2_approx(x[threadIdx.x]);
}

TEST(powers_of_two) {
  std::vector<float> x(kLanes), y(kLanes);
  for (size_t i = 0; i < kLanes; ++i) x[i] = static_cast<float>(i) * 7.9f - 128.0f;
  x[0] = -INFINITY;
  x[1] = -130;  // the result would be denormal
  run_warp(power_kernel, y.data(), static_cast<const float *>(x.data()));
  CHECK(y[0] == 0 && y[1] == 0, "%g %g", static_cast<double>(y[0]), static_cast<double>(y[1]));
  for (size_t i = 2; i < kLanes; ++i) {
    const double want = std::exp2(static_cast<double>(x[i]));
    CHECK_NEAR(y[i], want < 0x1p-126 ? 0.0 : want, want * 0x1p-22, "ex2", i);
  }
}

// ---- misuse ----

void misaligned_kernel(uint32_t *to) {
  GATUN_SHARED(matrices, uint4[kLanes + 1]);
  matrices[threadIdx.x] = {};
  uint32_t registers[4];
  simt::ldmatrix_x4(registers, simt::shared_address(matrices + threadIdx.x) + 8);
  to[threadIdx.x] = registers[0];
}

void half_a_warp_kernel(float *to) {
  const uint32_t a[4] = {};
  float d[4] = {};
  if (threadIdx.x < 16) simt::mma_m16n8k16(d, a, 0, 0);
  to[threadIdx.x] = d[0];
}

TEST(misuse_of_warp_instructions_fails_the_launch) {
  if constexpr (kDetectsRaces) return;  // nothing orders what lanes did that are given up
  std::vector<uint32_t> words(kLanes);
  launch("misaligned", misaligned_kernel, dim3(1), dim3(kLanes), 0, nullptr, words.data());
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorLaunchFailure, "a row on 8 bytes was taken");
  CHECK(std::strstr(cudaGetErrorString(cudaErrorLaunchFailure), "does not begin on 16 bytes") != nullptr, "%s",
        cudaGetErrorString(cudaErrorLaunchFailure));
  cudaDeviceReset();
  std::vector<float> floats(kLanes);
  launch("half a warp", half_a_warp_kernel, dim3(1), dim3(kLanes), 0, nullptr, floats.data());
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorLaunchFailure, "half a warp multiplied");
  cudaDeviceReset();
}

}  // namespace
}  // namespace gatun::testing
