// Runs one case of the self-test on a GPU, for test_on_gpu.py: simt_gpu NAME INPUT_SIZE OUTPUT_SIZE OPTION, floats from
// standard input to standard output.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "simt/simt_test.h"

// The wrong kernels are for the host alone: on a GPU they would hang it.
extern "C" cf_status cf_simt_fault(const char*, const float*, int64_t, float*, int64_t, int) { return CF_INVALID; }

static bool fine(cudaError_t error) {
  if (error != cudaSuccess) std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  return error == cudaSuccess;
}

int main(int count, char** words) {
  if (count != 5) return 2;
  std::vector<float> in(std::strtoul(words[2], nullptr, 10)), out(std::strtoul(words[3], nullptr, 10));
  if (std::fread(in.data(), sizeof(float), in.size(), stdin) != in.size()) return 2;
  const size_t in_bytes = in.size() * sizeof(float), out_bytes = out.size() * sizeof(float);
  float *from = nullptr, *to = nullptr;
  if (!fine(cudaMalloc(&from, in_bytes)) || !fine(cudaMalloc(&to, out_bytes)) || !fine(cudaMemset(to, 0, out_bytes)) ||
      !fine(cudaMemcpy(from, in.data(), in_bytes, cudaMemcpyHostToDevice)))
    return 3;
  const auto in_size = static_cast<int64_t>(in.size()), out_size = static_cast<int64_t>(out.size());
  if (cf_simt_test(words[1], from, in_size, to, out_size, std::atoi(words[4])) != CF_OK) {
    std::fprintf(stderr, "%s\n", cf_last_error());
    return 4;
  }
  if (!fine(cudaDeviceSynchronize()) || !fine(cudaMemcpy(out.data(), to, out_bytes, cudaMemcpyDeviceToHost))) return 3;
  return std::fwrite(out.data(), sizeof(float), out.size(), stdout) == out.size() ? 0 : 3;
}
