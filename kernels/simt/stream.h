/*
 * stream.h: what the parts of the emulated GPU share. Kernel launches, copies, memsets and matrix products all go through submit(); whatever
 * they find wrong while they run goes to fail().
 *
 * Work is deferred, as on a GPU: submit() queues, and a stream runs only when somebody waits for it (a synchronising call, an event that is
 * asked for, a copy to pageable memory, cudaFree) or when its queue is full. Each stream has its own queue, so that a missing
 * cudaStreamWaitEvent, or a pinned buffer that is overwritten too early, gives the wrong numbers that it gives on a device. With
 * GATUN_SIMT_DEFER=0 in the environment work runs inside submit(), which puts the caller of a failing kernel on the stack.
 */
#ifndef GATUN_SIMT_STREAM_H
#define GATUN_SIMT_STREAM_H

#include <cstddef>
#include <functional>
#include <string>

struct CUstream_st;

namespace gatun::simt {

using Stream = ::CUstream_st *;

/**
 * Queues work on the stream, or records it while the stream is capturing. Pointers in it must be checked again when it runs: a graph may be
 * launched long after its capture. Work runs on the thread that waits for it, one piece at a time, never inside a lock that the functions
 * below take. Returns a cudaError_t, which cudaGetLastError returns too.
 */
int submit(Stream stream, std::function<void()> work);

/**
 * An error of the device itself, for example cudaErrorLaunchFailure (719) or cudaErrorIllegalAddress (700): every later call of the runtime
 * returns it, and work that is still queued is dropped. The first one stays. From any thread.
 */
void fail(int error, std::string text);

/** Whether all of [p, p + bytes) lies inside one block of cudaMalloc that is not freed. */
bool is_device_memory(const void *p, size_t bytes);

/** The same of cudaHostAlloc. */
bool is_pinned_memory(const void *p, size_t bytes);

/** For messages: what memory [p, p + bytes) is, and if it leaves its block, by how much. */
std::string describe(const void *p, size_t bytes);

/** What the device's failure, or this thread's last refused call, was about; cudaGetErrorString and cublasLtGetStatusString end with it. */
std::string last_error_text();

}  // namespace gatun::simt

#endif
