/*
 * errors.h: the errors of the emulated runtime: their names and texts, and what the last one of a thread was about.
 */
#ifndef GATUN_SIMT_ERRORS_H
#define GATUN_SIMT_ERRORS_H

#include <string>

#include "cuda_api.h"

namespace gatun::doubles {

struct ErrorName {
  cudaError_t error;
  const char *name;
  const char *text;
};

/** NULL where the runtime has no such error. */
const ErrorName *find_error(cudaError_t error);

/** A call that is refused; call() turns it into the code that the function returns. */
struct Refusal {
  cudaError_t error;
  std::string text;
};

struct LastError {
  cudaError_t pending = cudaSuccess;  // what cudaGetLastError returns once
  cudaError_t error = cudaSuccess;    // what text is about
  std::string text;
  std::string shown;  // owned text of cudaGetErrorString
};

/** The calling thread's. */
LastError &last_error();

/** Makes it the thread's last error, and returns it. */
cudaError_t remember(cudaError_t error, std::string why);

}  // namespace gatun::doubles

#endif
