/* A CUDA driver without a device, by which cuDNN compiles plans; see README.md. */

static char loaded;

int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

int cuLibraryLoadData(void **library) {
  *library = &loaded;
  return 0;
}

int cuLibraryGetKernel(void **kernel) {
  *kernel = &loaded;
  return 0;
}

int cuLibraryUnload(void *library) {
  (void)library;
  return 0;
}

int cuKernelSetAttribute(void) {
  return 0;
}

int cuKernelGetAttribute(int *value) {
  *value = 0;
  return 0;
}

#define NO_DEVICE(function) \
  int function(void) {      \
    return 100;             \
  }

NO_DEVICE(cuCtxGetCurrent)
NO_DEVICE(cuCtxGetLimit)
NO_DEVICE(cuCtxPopCurrent)
NO_DEVICE(cuCtxPushCurrent)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDeviceGetCount)
NO_DEVICE(cuGetErrorName)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuLaunchCooperativeKernel)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuLaunchKernelEx)
NO_DEVICE(cuLibraryLoadFromFile)
NO_DEVICE(cuLinkAddData)
NO_DEVICE(cuLinkComplete)
NO_DEVICE(cuLinkCreate)
NO_DEVICE(cuLinkDestroy)
NO_DEVICE(cuOccupancyMaxPotentialClusterSize)
NO_DEVICE(cuStreamGetCtx)
