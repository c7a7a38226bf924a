#include "simt.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "fiber.h"

#ifdef GATUN_TSAN
extern "C" void __tsan_acquire(void *);
extern "C" void __tsan_release(void *);
extern "C" void AnnotateIgnoreWritesBegin(const char *file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char *file, int line);
#endif

namespace gatun::simt {

constinit thread_local Lane *current_lane = nullptr;
constinit thread_local BlockView *current_block = nullptr;

namespace {

/* What the driver reports for a kernel that failed while it ran. */
constexpr int kLaunchFailure = 719;      /* cudaErrorLaunchFailure */
constexpr int kInvalidConfiguration = 9; /* cudaErrorInvalidConfiguration */

constexpr size_t kStackBytes = 64 * 1024;
constexpr unsigned kMaxBlockThreads = 1024;
constexpr size_t kMaxSharedBytes = 227 * 1024; /* sm_90 */
constexpr int kPoison = 0xFF;

/** Orders what was before in lanes that pass here with what comes after; only ThreadSanitizer needs to be told. */
void release(void *where) {
#ifdef GATUN_TSAN
  __tsan_release(where);
#else
  (void)where;
#endif
}

void acquire(void *where) {
#ifdef GATUN_TSAN
  __tsan_acquire(where);
#else
  (void)where;
#endif
}

enum class State { kReady, kAtBarrier, kInCollective, kEnded };

/** One warp instruction that lanes are arriving at. */
struct Pending {
  unsigned mask = 0; /* 0: free */
  unsigned arrived = 0;
  Collective kind = Collective::kSyncWarp;
  std::source_location where;
  void *slots[kWarpSize] = {};
};

struct SharedBlock {
  const void *site;
  void *memory;
};

const char *name_of(Collective kind) {
  switch (kind) {
    case Collective::kSyncWarp:
      return "__syncwarp";
    case Collective::kShuffle:
      return "shuffle";
    case Collective::kVote:
      return "vote";
    case Collective::kReduce:
      return "reduce";
    case Collective::kMatrix:
      return "matrix instruction";
  }
  return "?";
}

std::string place(const std::source_location &where) {
  std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

enum class Order { kForward, kReverse, kShuffle };

Order order() {
  static const Order value = [] {
    const char *text = std::getenv("GATUN_SIMT_SCHEDULE");
    if (text == nullptr || std::strcmp(text, "forward") == 0) return Order::kForward;
    if (std::strcmp(text, "reverse") == 0) return Order::kReverse;
    if (std::strcmp(text, "shuffle") == 0) return Order::kShuffle;
    std::fprintf(stderr, "GATUN_SIMT_SCHEDULE is \"%s\", expected forward, reverse or shuffle\n", text);
    std::abort();
  }();
  return value;
}

std::vector<unsigned> ordered(unsigned count, unsigned seed) {
  std::vector<unsigned> indices(count);
  std::iota(indices.begin(), indices.end(), 0u);
  if (order() == Order::kReverse) std::reverse(indices.begin(), indices.end());
  if (order() == Order::kShuffle) std::shuffle(indices.begin(), indices.end(), std::mt19937(seed));
  return indices;
}

}  // namespace

/** A block that runs on this thread of the CPU. */
struct Block {
  BlockView view;
  const std::function<void()> *body;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Lane> lanes;
  std::vector<State> states;
  std::vector<std::source_location> waits;
  std::vector<std::vector<Pending>> warps;
  std::vector<SharedBlock> shared;
  void *dynamic_shared = nullptr;
  size_t dynamic_shared_bytes = 0;
  unsigned at_barrier = 0;
  unsigned ended = 0;
  std::string failure;
  void *launch = nullptr; /* what orders the end of lanes before the end of the launch */

  unsigned count() const { return static_cast<unsigned>(lanes.size()); }
};

namespace {

thread_local Block *running = nullptr;

/** Stacks of one thread of the CPU, kept from block to block. */
class Stacks {
 public:
  Stacks() : memory_(map(kStackBytes * kMaxBlockThreads)) {}
  ~Stacks() { munmap(memory_, kStackBytes * kMaxBlockThreads); }

  static void *map(size_t bytes) {
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return memory;
  }

  void *stack(unsigned lane) { return static_cast<char *>(memory_) + lane * kStackBytes; }

 private:
  void *memory_;
};

void *allocate_shared(size_t bytes, size_t alignment) {
  void *memory = nullptr;
#ifdef GATUN_TSAN
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__); /* the first lane that comes allocates for all: not a write of its own */
#endif
  const int error = posix_memalign(&memory, std::max<size_t>(alignment, 128), std::max<size_t>(bytes, 1));
  if (error == 0) std::memset(memory, kPoison, bytes);
#ifdef GATUN_TSAN
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
  if (error != 0) throw std::bad_alloc();
  return memory;
}

/**
 * Ends the block with the text that describe() returns. The lane's stack is abandoned, its destructors never run: nothing on it may own memory, so
 * the text is made here and not by the caller.
 */
template <typename Describe>
[[noreturn]] void give_up(Describe describe) {
  Block &block = *running;
  if (block.failure.empty()) block.failure = describe();
  block.fibers[current_lane->rank]->yield();
  std::abort(); /* a failed block is not run on */
}

std::string who(const Lane &lane) {
  const Block &block = *lane.block;
  const uint3 t = lane.thread_index, b = block.view.index;
  return "thread (" + std::to_string(t.x) + ", " + std::to_string(t.y) + ", " + std::to_string(t.z) + ") of block (" + std::to_string(b.x) + ", " +
         std::to_string(b.y) + ", " + std::to_string(b.z) + ")";
}

void run_lane(void *argument) {
  Lane &lane = *static_cast<Lane *>(argument);
  Block &block = *lane.block;
  Fiber &fiber = *block.fibers[lane.rank];
  fiber.entered();
  (*block.body)();
  release(block.launch);
  block.states[lane.rank] = State::kEnded;
  ++block.ended;
  fiber.leave();
}

/** Why no lane can go on. */
std::string deadlock(const Block &block) {
  for (unsigned i = 0; i < block.count(); ++i) {
    if (block.states[i] == State::kAtBarrier) {
      return who(block.lanes[i]) + " waits at __syncthreads (" + place(block.waits[i]) + ") for lanes that " +
             (block.ended > 0 ? "have ended" : "wait elsewhere");
    }
  }
  for (const auto &warp : block.warps) {
    for (const Pending &pending : warp) {
      if (pending.mask == 0) continue;
      const unsigned missing = pending.mask & ~pending.arrived;
      return std::string(name_of(pending.kind)) + " at " + place(pending.where) + " in block (" + std::to_string(block.view.index.x) + ", " +
             std::to_string(block.view.index.y) + ", " + std::to_string(block.view.index.z) + ") waits in vain for lanes " + std::to_string(missing) +
             " (bits)";
    }
  }
  return "no lane can run";
}

void schedule(Block &block, unsigned seed) {
  const std::vector<unsigned> lanes = ordered(block.count(), seed);
  while (block.ended < block.count()) {
    bool progress = false;
    for (unsigned i : lanes) {
      if (block.states[i] != State::kReady) continue;
      progress = true;
      current_lane = &block.lanes[i];
      block.fibers[i]->resume();
      if (!block.failure.empty()) return;
    }
    if (!progress) {
      block.failure = deadlock(block);
      return;
    }
  }
}

void run_block(Block &block, Stacks &stacks, dim3 extent, unsigned seed) {
  const unsigned count = extent.x * extent.y * extent.z;
  block.lanes.resize(count);
  block.states.assign(count, State::kReady);
  block.waits.assign(count, std::source_location());
  block.warps.assign((count + kWarpSize - 1) / kWarpSize, {});
  block.at_barrier = block.ended = 0;
  while (block.fibers.size() < count) block.fibers.push_back(std::make_unique<Fiber>());
#ifdef GATUN_TSAN
  /* Fresh pages, so that the sanitizer does not take two lanes' use of one stack, one after the other, for a race. */
  std::vector<void *> own(count);
  for (void *&stack : own) stack = Stacks::map(kStackBytes);
#endif
  for (unsigned i = 0; i < count; ++i) {
    block.lanes[i] = {{i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y}, i, &block};
#ifdef GATUN_TSAN
    block.fibers[i]->prepare(own[i], kStackBytes, run_lane, &block.lanes[i]);
    (void)stacks;
#else
    block.fibers[i]->prepare(stacks.stack(i), kStackBytes, run_lane, &block.lanes[i]);
#endif
  }
  running = &block;
  current_block = &block.view;
  schedule(block, seed);
  running = nullptr;
  current_block = nullptr;
  current_lane = nullptr;
#ifdef GATUN_TSAN
  for (void *stack : own) munmap(stack, kStackBytes);
#endif
}

/** Keeps shared memory until the launch is over where the sanitizer must not see one block's memory become another's. */
void free_shared(Block &block, std::vector<void *> &until_the_end) {
  for (const SharedBlock &shared : block.shared) until_the_end.push_back(shared.memory);
  if (block.dynamic_shared != nullptr) until_the_end.push_back(block.dynamic_shared);
  block.shared.clear();
  block.dynamic_shared = nullptr;
#ifndef GATUN_TSAN
  for (void *memory : until_the_end) std::free(memory);
  until_the_end.clear();
#endif
}

}  // namespace

void misuse(const char *what, std::source_location where) {
  give_up([&] { return std::string(what) + " at " + place(where) + ", " + who(*current_lane); });
}

void block_barrier(std::source_location where) {
  Block &block = *running;
  const unsigned rank = current_lane->rank;
  for (unsigned i = 0; i < block.count() && block.at_barrier > 0; ++i) {
    if (block.states[i] == State::kAtBarrier) {
      if (block.waits[i].line() != where.line() || std::strcmp(block.waits[i].file_name(), where.file_name()) != 0) {
        give_up(
            [&] { return "lanes of one block wait at two barriers, " + place(block.waits[i]) + " and " + place(where) + ": " + who(*current_lane); });
      }
      break;
    }
  }
  release(&block);
  block.waits[rank] = where;
  if (++block.at_barrier == block.count()) {
    block.at_barrier = 0;
    for (State &state : block.states) {
      if (state == State::kAtBarrier) state = State::kReady;
    }
  } else {
    block.states[rank] = State::kAtBarrier;
    block.fibers[rank]->yield();
  }
  acquire(&block);
}

void warp_collective(unsigned mask, Collective kind, void *slot, void (*combine)(void *const *slots, unsigned mask), std::source_location where) {
  Block &block = *running;
  const unsigned rank = current_lane->rank, lane = rank % kWarpSize, warp = rank / kWarpSize;
  const unsigned in_warp = std::min(kWarpSize, block.count() - warp * kWarpSize);
  const unsigned exists = in_warp == kWarpSize ? ~0u : (1u << in_warp) - 1;
  mask &= exists;
  if ((mask >> lane & 1) == 0) misuse("a warp instruction whose mask leaves out the lane that runs it", where);
  Pending *pending = nullptr;
  for (Pending &candidate : block.warps[warp]) {
    if (candidate.mask == 0 || (candidate.mask & mask) == 0) continue;
    if (candidate.mask != mask || candidate.kind != kind || candidate.where.line() != where.line() ||
        std::strcmp(candidate.where.file_name(), where.file_name()) != 0) {
      give_up([&] {
        return std::string(name_of(kind)) + " at " + place(where) + " while other lanes of the warp wait at " + name_of(candidate.kind) + " at " +
               place(candidate.where) + " or with another mask: " + who(*current_lane);
      });
    }
    pending = &candidate;
  }
  if (pending == nullptr) {
    for (Pending &candidate : block.warps[warp]) {
      if (candidate.mask == 0) pending = &candidate;
    }
    if (pending == nullptr) pending = &block.warps[warp].emplace_back();
    *pending = Pending{mask, 0, kind, where, {}};
  }
  pending->arrived |= 1u << lane;
  pending->slots[lane] = slot;
  if (kind == Collective::kSyncWarp) release(&block.warps[warp]);
  if (pending->arrived == mask) {
    if (combine != nullptr) combine(pending->slots, mask);
    pending->mask = 0;
    for (unsigned i = 0; i < in_warp; ++i) {
      if (mask >> i & 1) block.states[warp * kWarpSize + i] = State::kReady;
    }
  } else {
    block.states[rank] = State::kInCollective;
    block.waits[rank] = where;
    block.fibers[rank]->yield();
  }
  if (kind == Collective::kSyncWarp) acquire(&block.warps[warp]);
}

void combine_shuffle(void *const *slots, unsigned mask) {
  uint64_t values[kWarpSize] = {};
  for (unsigned i = 0; i < kWarpSize; ++i) {
    if (mask >> i & 1) values[i] = static_cast<const ShuffleSlot *>(slots[i])->value;
  }
  for (unsigned i = 0; i < kWarpSize; ++i) {
    if (mask >> i & 1) {
      ShuffleSlot *slot = static_cast<ShuffleSlot *>(slots[i]);
      slot->value = values[slot->source];
    }
  }
}

void combine_ballot(void *const *slots, unsigned mask) {
  unsigned votes = 0;
  for (unsigned i = 0; i < kWarpSize; ++i) {
    if (mask >> i & 1) votes |= *static_cast<const unsigned *>(slots[i]) << i;
  }
  for (unsigned i = 0; i < kWarpSize; ++i) {
    if (mask >> i & 1) *static_cast<unsigned *>(slots[i]) = votes;
  }
}

void combine_match(void *const *slots, unsigned mask) {
  for (unsigned i = 0; i < kWarpSize; ++i) {
    if ((mask >> i & 1) == 0) continue;
    MatchSlot &slot = *static_cast<MatchSlot *>(slots[i]);
    for (unsigned j = 0; j < kWarpSize; ++j) {
      if (mask >> j & 1 && static_cast<const MatchSlot *>(slots[j])->value == slot.value) slot.peers |= 1u << j;
    }
  }
}

void *shared_memory(const void *site, size_t bytes, size_t alignment) {
  Block &block = *running;
  for (const SharedBlock &shared : block.shared) {
    if (shared.site == site) return shared.memory;
  }
  void *memory = allocate_shared(bytes, alignment);
  block.shared.push_back({site, memory});
  return memory;
}

void *dynamic_shared_memory() {
  Block &block = *running;
  if (block.dynamic_shared == nullptr) block.dynamic_shared = allocate_shared(block.dynamic_shared_bytes, 128);
  return block.dynamic_shared;
}

void run_grid(const char *name, dim3 grid, dim3 block_dim, size_t shared_bytes, const std::function<void()> &lane) {
  const uint64_t threads = uint64_t{block_dim.x} * block_dim.y * block_dim.z;
  const bool grid_fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
  if (threads < 1 || threads > kMaxBlockThreads || !grid_fits || shared_bytes > kMaxSharedBytes) {
    fail(kInvalidConfiguration, std::string(name) + ": grid (" + std::to_string(grid.x) + ", " + std::to_string(grid.y) + ", " +
                                    std::to_string(grid.z) + "), " + std::to_string(threads) + " threads, " + std::to_string(shared_bytes) +
                                    " bytes of shared memory");
    return;
  }
  const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
  std::string failure;
  std::mutex failure_lock;
  std::atomic<bool> failed{false};
  char launch = 0;
  const auto run = [&](int64_t position, Block &block, Stacks &stacks, std::vector<void *> &garbage) {
    if (failed.load(std::memory_order_relaxed)) return;
    /* Blocks in another order than launched: any stride that is coprime to their number visits all. */
    int64_t at = position;
    if (order() == Order::kReverse) at = blocks - 1 - position;
    if (order() == Order::kShuffle) {
      int64_t stride = blocks / 2 + 1;
      while (std::gcd(stride, blocks) != 1) ++stride;
      at = static_cast<int64_t>(static_cast<unsigned __int128>(position) * stride % blocks);
    }
    block.view.index = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y), static_cast<unsigned>(at / grid.x / grid.y)};
    block.view.block_dim = block_dim;
    block.view.grid_dim = grid;
    block.body = &lane;
    block.dynamic_shared_bytes = shared_bytes;
    block.launch = &launch;
    run_block(block, stacks, block_dim, static_cast<unsigned>(at));
    free_shared(block, garbage);
    if (!block.failure.empty()) {
      const std::lock_guard<std::mutex> lock(failure_lock);
      if (failure.empty()) failure = block.failure;
      failed.store(true, std::memory_order_relaxed);
    }
  };
#ifdef GATUN_TSAN
  static Stacks stacks; /* one thread: the sanitizer does not know how OpenMP's threads are ordered */
  std::vector<void *> garbage;
  std::vector<std::unique_ptr<Block>> all; /* freed only when the lanes' end is known to lie before */
  for (int64_t i = 0; i < blocks; ++i) run(i, *all.emplace_back(std::make_unique<Block>()), stacks, garbage);
  acquire(&launch);
  all.clear();
  for (void *memory : garbage) std::free(memory);
#else
#pragma omp parallel if (blocks > 1)
  {
    static thread_local Stacks stacks;
    Block block;
    std::vector<void *> garbage;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks; ++i) run(i, block, stacks, garbage);
  }
#endif
  if (!failure.empty()) fail(kLaunchFailure, std::string(name) + ": " + failure);
}

}  // namespace gatun::simt
