// Small kernels that show what the test module finds, and one that shows how an op's kernel and launcher look.
#include <cstring>

#include "common/device.cuh"
#include "simt/simt_test.h"

namespace chordfast {
namespace {

// out[row] = sum of in[row, :]; one block of 128 threads a row.
__global__ void __launch_bounds__(128) row_sum(const float* __restrict__ in, float* __restrict__ out, int columns) {
  CF_SHARED(float, part, 4);
  float sum = 0.0f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += in[static_cast<int64_t>(blockIdx.x) * columns + i];
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = part[0] + part[1] + part[2] + part[3];
}

}  // namespace
}  // namespace chordfast

using namespace chordfast;

extern "C" cf_status cf_simt_test(const char* name, const float* in, int64_t in_size, float* out, int64_t out_size,
                                  int /*option*/) {
  return CF_GUARD([&]() -> cf_status {
    CF_DEVICE(0);
    void* const stream = nullptr;
    const int rows = static_cast<int>(out_size);
    if (!std::strcmp(name, "row_sum")) {
      CF_LAUNCH(row_sum, rows, 128, 0, stream, in, out, static_cast<int>(in_size / rows));
      CF_LAUNCH_CHECK(stream);
      return CF_OK;
    }
    return fail(CF_INVALID, __FILE__, __LINE__, "no self-test case '%s'", name);
  });
}
