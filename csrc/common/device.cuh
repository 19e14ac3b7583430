// For launchers: the device for the time of a call, launch errors, large dynamic shared memory. Host reading under
// CF_SIMT.
#pragma once

#include <cstddef>
#include <cstdlib>

#include "common/check.h"
#include "simt/simt.h"

// Fails the enclosing function (returning cf_status) when a CUDA runtime call does.
#ifdef CF_SIMT
#define CF_CUDA_CHECK(call) (void)0
// Launch errors were thrown already.
#define CF_LAUNCH_CHECK(stream) (void)(stream)
#else
#define CF_CUDA_CHECK(call)                                                                                     \
  do {                                                                                                          \
    const cudaError_t cf_error = (call);                                                                        \
    if (cf_error != cudaSuccess)                                                                                \
      return ::chordfast::fail(CF_CUDA, __FILE__, __LINE__, "%s: %s (%s)", #call, cudaGetErrorString(cf_error), \
                               cudaGetErrorName(cf_error));                                                     \
  } while (0)
// After a launch. With CHORDFAST_SYNC=1 it waits for the kernel, so that a fault names its launch; never during
// capture.
#define CF_LAUNCH_CHECK(stream)                                                   \
  do {                                                                            \
    CF_CUDA_CHECK(cudaGetLastError());                                            \
    CF_CUDA_CHECK(::chordfast::sync_if_asked(static_cast<cudaStream_t>(stream))); \
  } while (0)
#endif

namespace chordfast {

#ifdef CF_SIMT

class DeviceGuard {
 public:
  explicit DeviceGuard(int) {}
  cf_status status() const { return CF_OK; }
};

// Lets `kernel` be launched with `bytes` of dynamic shared memory, beyond the usual 48 KiB.
template <class... P>
cf_status allow_dynamic_shared(void (*kernel)(P...), size_t bytes) {
  simt::allow_dynamic_shared(reinterpret_cast<const void*>(kernel), bytes);
  return CF_OK;
}

inline int multiprocessors(int) { return 4; }  // small, so that persistent kernels loop in tests
inline size_t shared_limit(int) { return 227 * 1024; }

#else

// Makes `device` current and puts the previous one back; look at status() first.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && device != before_) {
      error_ = cudaSetDevice(device);
      changed_ = error_ == cudaSuccess;
    }
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  cf_status status() const {
    if (error_ == cudaSuccess) return CF_OK;
    cudaGetLastError();
    return fail(CF_CUDA, __FILE__, __LINE__, "cannot use the CUDA device: %s", cudaGetErrorString(error_));
  }

 private:
  int before_ = 0;
  bool changed_ = false;
  cudaError_t error_ = cudaSuccess;
};

// Lets `kernel` be launched with `bytes` of dynamic shared memory on the current device. The attribute is sticky and
// cheap to set again (no synchronisation, allowed during capture), so launchers may call this every time.
template <class... P>
cf_status allow_dynamic_shared(void (*kernel)(P...), size_t bytes) {
  if (bytes <= 48 * 1024) return CF_OK;
  CF_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  return CF_OK;
}

// Of the device; 0 on error.
inline int device_attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess ? value : 0;
}
inline int multiprocessors(int device) { return device_attribute(cudaDevAttrMultiProcessorCount, device); }
inline size_t shared_limit(int device) {
  return static_cast<size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
}

inline cudaError_t sync_if_asked(cudaStream_t stream) {
  static const bool asked = [] {
    const char* value = std::getenv("CHORDFAST_SYNC");
    return value && value[0] == '1';
  }();
  if (!asked) return cudaSuccess;
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &capturing);
  if (error != cudaSuccess || capturing != cudaStreamCaptureStatusNone) return error;
  return cudaStreamSynchronize(stream);
}

#endif

}  // namespace chordfast

// First line of a launcher: `CF_DEVICE(device);`
#define CF_DEVICE(index)                                 \
  const ::chordfast::DeviceGuard cf_device_guard(index); \
  if (const cf_status cf_device_status = cf_device_guard.status()) return cf_device_status
