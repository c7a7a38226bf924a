/*
 * device_properties.h: what the emulated device says of itself: an H100, as far as Gatun asks.
 */
#ifndef GATUN_SIMT_DEVICE_PROPERTIES_H
#define GATUN_SIMT_DEVICE_PROPERTIES_H

#include <cstddef>

#include "cuda_api.h"

namespace gatun::doubles {

inline constexpr const char *kPciBusId = "0000:00:00.0";
inline constexpr int kCudaVersion = 13000;

/** Refused where it is not one that the emulated device has. */
int attribute(cudaDeviceAttr asked);

void describe_device(cudaDeviceProp *prop, size_t memory_bytes);

}  // namespace gatun::doubles

#endif
