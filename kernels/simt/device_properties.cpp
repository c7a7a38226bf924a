#include "device_properties.h"

#include <cstring>
#include <utility>

#include "errors.h"
#include "handles.h"

namespace gatun::doubles {
namespace {

constexpr const char *kName = "Gatun SIMT emulation";

struct Attribute {
  cudaDeviceAttr attribute;
  int value;
};
constexpr Attribute kAttributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, 2147483647},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxRegistersPerBlock, 65536},
    {cudaDevAttrClockRate, 1980000},
    {cudaDevAttrMultiProcessorCount, 132},
    {cudaDevAttrIntegrated, 0},
    {cudaDevAttrComputeMode, 0},
    {cudaDevAttrConcurrentKernels, 1},
    {cudaDevAttrEccEnabled, 1},
    {cudaDevAttrMemoryClockRate, 2619000},
    {cudaDevAttrGlobalMemoryBusWidth, 5120},
    {cudaDevAttrL2CacheSize, 50 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrAsyncEngineCount, 3},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrComputeCapabilityMajor, 9},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrCooperativeLaunch, 1},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
    {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
};

template <class Value>
void put(cudaDeviceProp *prop, size_t offset, const Value &value) {
  std::memcpy(prop->bytes + offset, &value, sizeof value);
}

}  // namespace

int attribute(cudaDeviceAttr asked) {
  for (const Attribute &known : kAttributes) {
    if (known.attribute == asked) return known.value;
  }
  throw Refusal{cudaErrorNotSupported, text("attribute ", asked, " is not one that the emulated device has")};
}

void describe_device(cudaDeviceProp *prop, size_t memory_bytes) {
  std::memset(prop, 0, sizeof *prop);
  std::strcpy(prop->bytes + offset_of_name, kName);
  const unsigned char uuid[16] = {'g', 'a', 't', 'u', 'n', '-', 's', 'i', 'm', 't'};
  put(prop, offset_of_uuid, uuid);
  put(prop, offset_of_totalGlobalMem, memory_bytes);
  put(prop, offset_of_memPitch, size_t{2147483647});
  const int block[3] = {attribute(cudaDevAttrMaxBlockDimX), attribute(cudaDevAttrMaxBlockDimY), attribute(cudaDevAttrMaxBlockDimZ)};
  const int grid[3] = {attribute(cudaDevAttrMaxGridDimX), attribute(cudaDevAttrMaxGridDimY), attribute(cudaDevAttrMaxGridDimZ)};
  put(prop, offset_of_maxThreadsDim, block);
  put(prop, offset_of_maxGridSize, grid);
  put(prop, offset_of_totalConstMem, size_t{64 << 10});
  put(prop, offset_of_reservedSharedMemPerBlock, size_t{1 << 10});
  const std::pair<size_t, cudaDeviceAttr> sizes[] = {
      {offset_of_sharedMemPerBlock, cudaDevAttrMaxSharedMemoryPerBlock},
      {offset_of_sharedMemPerMultiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor},
      {offset_of_sharedMemPerBlockOptin, cudaDevAttrMaxSharedMemoryPerBlockOptin},
  };
  for (const auto &[offset, source] : sizes) put(prop, offset, static_cast<size_t>(attribute(source)));
  const std::pair<size_t, cudaDeviceAttr> numbers[] = {
      {offset_of_regsPerBlock, cudaDevAttrMaxRegistersPerBlock},
      {offset_of_warpSize, cudaDevAttrWarpSize},
      {offset_of_maxThreadsPerBlock, cudaDevAttrMaxThreadsPerBlock},
      {offset_of_major, cudaDevAttrComputeCapabilityMajor},
      {offset_of_minor, cudaDevAttrComputeCapabilityMinor},
      {offset_of_multiProcessorCount, cudaDevAttrMultiProcessorCount},
      {offset_of_concurrentKernels, cudaDevAttrConcurrentKernels},
      {offset_of_ECCEnabled, cudaDevAttrEccEnabled},
      {offset_of_asyncEngineCount, cudaDevAttrAsyncEngineCount},
      {offset_of_unifiedAddressing, cudaDevAttrUnifiedAddressing},
      {offset_of_memoryBusWidth, cudaDevAttrGlobalMemoryBusWidth},
      {offset_of_l2CacheSize, cudaDevAttrL2CacheSize},
      {offset_of_maxThreadsPerMultiProcessor, cudaDevAttrMaxThreadsPerMultiProcessor},
      {offset_of_regsPerMultiprocessor, cudaDevAttrMaxRegistersPerMultiprocessor},
      {offset_of_cooperativeLaunch, cudaDevAttrCooperativeLaunch},
      {offset_of_maxBlocksPerMultiProcessor, cudaDevAttrMaxBlocksPerMultiprocessor},
  };
  for (const auto &[offset, source] : numbers) put(prop, offset, attribute(source));
}

}  // namespace gatun::doubles
