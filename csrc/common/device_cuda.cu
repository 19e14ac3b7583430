#include <cuda_runtime.h>

#include <cstdio>

#include "common/device.h"

extern "C" int cf_cuda_device_count(void) {
  int count = 0;
  // Any failure (no driver: 35, no device: 100) means "none"; clear it so that later calls start clean.
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

extern "C" cf_status cf_cuda_device_name(int device, char* name, int size, int* major, int* minor) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
    cudaGetLastError();
    return CF_CUDA;
  }
  std::snprintf(name, size, "%s", properties.name);
  *major = properties.major;
  *minor = properties.minor;
  return CF_OK;
}
