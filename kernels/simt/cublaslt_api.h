/*
 * cublaslt_api.h: the part of cuBLASLt 13 that the emulated GPU has, under its real names and with its real C signatures. See cuda_api.h.
 */
#ifndef GATUN_SIMT_CUBLASLT_API_H
#define GATUN_SIMT_CUBLASLT_API_H

#include <cstddef>
#include <cstdint>

#include "cuda_api.h"

enum cublasStatus_t : unsigned int {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_ARCH_MISMATCH = 8,
  CUBLAS_STATUS_MAPPING_ERROR = 11,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_INTERNAL_ERROR = 14,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
  CUBLAS_STATUS_LICENSE_ERROR = 16,
};

enum cudaDataType_t : unsigned int { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14 };

enum cublasComputeType_t : unsigned int { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };

enum cublasOperation_t : unsigned int { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1, CUBLAS_OP_C = 2 };

enum cublasLtOrder_t : unsigned int { CUBLASLT_ORDER_COL = 0, CUBLASLT_ORDER_ROW = 1 };

enum cublasLtPointerMode_t : unsigned int { CUBLASLT_POINTER_MODE_HOST = 0 };

enum cublasLtEpilogue_t : unsigned int { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };

enum cublasLtReductionScheme_t : unsigned int {
  CUBLASLT_REDUCTION_SCHEME_NONE = 0,
  CUBLASLT_REDUCTION_SCHEME_INPLACE = 1,
  CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2,
  CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE = 4,
  CUBLASLT_REDUCTION_SCHEME_MASK = 7,
};

enum cublasLtMatmulSearch_t : unsigned int { CUBLASLT_SEARCH_BEST_FIT = 0 };

enum cublasLtMatrixLayoutAttribute_t : unsigned int {
  CUBLASLT_MATRIX_LAYOUT_TYPE = 0,                 // uint32_t
  CUBLASLT_MATRIX_LAYOUT_ORDER = 1,                // int32_t
  CUBLASLT_MATRIX_LAYOUT_ROWS = 2,                 // uint64_t
  CUBLASLT_MATRIX_LAYOUT_COLS = 3,                 // uint64_t
  CUBLASLT_MATRIX_LAYOUT_LD = 4,                   // int64_t
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,          // int32_t
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6  // int64_t
};

enum cublasLtMatmulDescAttributes_t : unsigned int {
  CUBLASLT_MATMUL_DESC_COMPUTE_TYPE = 0,      // int32_t
  CUBLASLT_MATMUL_DESC_SCALE_TYPE = 1,        // int32_t
  CUBLASLT_MATMUL_DESC_POINTER_MODE = 2,      // int32_t
  CUBLASLT_MATMUL_DESC_TRANSA = 3,            // int32_t
  CUBLASLT_MATMUL_DESC_TRANSB = 4,            // int32_t
  CUBLASLT_MATMUL_DESC_TRANSC = 5,            // int32_t
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,          // uint32_t
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,      // const void *
  CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET = 15,  // int32_t
  CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26,   // int32_t
};

enum cublasLtMatmulPreferenceAttributes_t : unsigned int {
  CUBLASLT_MATMUL_PREF_SEARCH_MODE = 0,            // uint32_t
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,    // uint64_t
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,  // uint32_t
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,  // uint32_t
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,  // uint32_t
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,  // uint32_t
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,  // uint32_t
  CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT = 9,        // float
};

struct cublasLtContext;
struct cublasLtMatmulDescOpaque_t;
struct cublasLtMatrixLayoutOpaque_t;
struct cublasLtMatmulPreferenceOpaque_t;
typedef cublasLtContext *cublasLtHandle_t;
typedef cublasLtMatmulDescOpaque_t *cublasLtMatmulDesc_t;
typedef cublasLtMatrixLayoutOpaque_t *cublasLtMatrixLayout_t;
typedef cublasLtMatmulPreferenceOpaque_t *cublasLtMatmulPreference_t;

struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};

struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

GATUN_SIMT_EXPORT cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle);
GATUN_SIMT_EXPORT size_t cublasLtGetVersion(void);
GATUN_SIMT_EXPORT const char *cublasLtGetStatusName(cublasStatus_t status);
GATUN_SIMT_EXPORT const char *cublasLtGetStatusString(cublasStatus_t status);

GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType_t type, uint64_t rows, uint64_t cols,
                                                            int64_t ld);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout, cublasLtMatrixLayoutAttribute_t attr,
                                                                  const void *buf, size_t sizeInBytes);

GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc, cublasComputeType_t computeType,
                                                          cudaDataType_t scaleType);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc, cublasLtMatmulDescAttributes_t attr, const void *buf,
                                                                size_t sizeInBytes);

GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr,
                                                                      const void *buf, size_t sizeInBytes);

GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc,
                                                                cublasLtMatrixLayout_t Adesc, cublasLtMatrixLayout_t Bdesc,
                                                                cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
                                                                cublasLtMatmulPreference_t preference, int requestedAlgoCount,
                                                                cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int *returnAlgoCount);
GATUN_SIMT_EXPORT cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc, const void *alpha, const void *A,
                                                cublasLtMatrixLayout_t Adesc, const void *B, cublasLtMatrixLayout_t Bdesc, const void *beta,
                                                const void *C, cublasLtMatrixLayout_t Cdesc, void *D, cublasLtMatrixLayout_t Ddesc,
                                                const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspaceSizeInBytes, cudaStream_t stream);

#endif
