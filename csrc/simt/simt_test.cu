// Right kernels: each shows one part of CUDA that the host reading must get right. Wrong ones are in simt_faults.cu.
#include <cstring>

#include "common/cp_async.cuh"
#include "common/device.cuh"
#include "common/mma.cuh"
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

// The same by dynamic shared memory and a tree of barriers.
template <int threads>
__global__ void row_sum_dynamic(const float* in, float* out, int columns) {
  CF_DYN_SHARED(float, sums);
  float sum = 0.0f;
  for (int i = threadIdx.x; i < columns; i += threads) sum += in[static_cast<int64_t>(blockIdx.x) * columns + i];
  sums[threadIdx.x] = sum;
  for (int step = threads / 2; step; step /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < step) sums[threadIdx.x] += sums[threadIdx.x + step];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

// Every thread of a three-dimensional launch writes its linear number where its coordinates say.
__global__ void coordinates(float* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      static_cast<float>(blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z + 1000 * threadIdx.x + 10000 * threadIdx.y +
                         100000 * threadIdx.z);
}

// One warp; 12 results a lane, see tests/simt/test_simt.py for what each must be.
__global__ void collectives(const float* in, float* out) {
  const unsigned all = 0xffffffffu;
  const int lane = threadIdx.x % 32;
  const float x = in[lane];
  float* mine = out + lane * 12;
  mine[0] = __shfl_sync(all, x, 5);
  mine[1] = __shfl_sync(all, x, lane + 3, 8);
  mine[2] = __shfl_up_sync(all, x, 3, 16);
  mine[3] = __shfl_down_sync(all, x, 3, 16);
  mine[4] = __shfl_xor_sync(all, x, 17);
  mine[5] = static_cast<float>(__popc(__ballot_sync(all, x > 0.0f)));
  mine[6] = static_cast<float>(__any_sync(all, x > 1e9f) + 2 * __all_sync(all, x < 1e9f));
  mine[7] = static_cast<float>(__popc(__match_any_sync(all, x > 0.0f)));
  mine[8] = static_cast<float>(__reduce_max_sync(all, lane ^ 9));
  // Two halves of the warp, each among itself.
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  float sum = x;
  for (int step = 8; step; step /= 2) sum += __shfl_xor_sync(half, sum, step);
  mine[9] = sum;
  __syncwarp();
  mine[10] = static_cast<float>(__reduce_add_sync(half, lane));
  mine[11] = __half2float(__shfl_sync(all, __float2half(x), lane ^ 1));
}

__global__ void barrier_votes(const float* in, float* out) {
  const int positive = in[threadIdx.x] > 0.0f;
  const int count = __syncthreads_count(positive);
  const int every = __syncthreads_and(positive);
  const int some = __syncthreads_or(positive);
  out[threadIdx.x] = static_cast<float>(count + 1000 * every + 2000 * some);
}

// out[0] counts, out[1] the largest as bits of an int, out[2] the sum by compare-and-swap, out[3..6] a histogram.
__global__ void atomics(const float* in, float* out, int n) {
  int* numbers = reinterpret_cast<int*>(out);
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int value = static_cast<int>(in[i]);
  atomicAdd(numbers, 1);
  atomicMax(numbers + 1, value);
  int seen = numbers[2], expected;
  do {
    expected = seen;
    seen = atomicCAS(numbers + 2, expected, expected + value);
  } while (seen != expected);
  atomicAdd(out + 3 + value % 4, 1.0f);
}

// C = A B of 16 x 16 by 16 x 8: A by ldmatrix, B stored as its transpose (8 x 16) or, with `through_trans`, as it is.
template <class T, bool through_trans>
__global__ void product(const float* in, float* out) {
  CF_SHARED(T, a, 256);
  CF_SHARED(T, b, 128);
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) a[i] = static_cast<T>(in[i]);
  for (int i = lane; i < 128; i += 32) {
    const int k = i / 8, n = i % 8;
    b[through_trans ? i : n * 16 + k] = static_cast<T>(in[256 + i]);
  }
  __syncwarp();
  uint32_t left[4], right[2];
  load_matrix<4, false>(left, a + (lane % 16) * 16 + lane / 16 * 8);
  if (through_trans)
    load_matrix<2, true>(right, b + (lane % 16) * 8);
  else
    load_matrix<2, false>(right, b + (lane % 8) * 16 + lane / 8 % 2 * 8);
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = 1.0f;
  mma_m16n8k16<T>(sum, left, right, sum);
  for (int i = 0; i < 4; ++i) out[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = sum[i];
}

// out[i] = 2 in[i] through two stages of shared memory filled by asynchronous copies; the end of the last tile is
// zeros.
__global__ void copies(const float* in, float* out, int n) {
  CF_SHARED(float, stage, 2 * 128);
  const int tiles = (n + 127) / 128, own = 4 * threadIdx.x;
  auto fetch = [&](int tile) {
    const int at = tile * 128 + own, left = 4 * min(max(n - at, 0), 4);
    if (tile < tiles) cp_async<16>(stage + tile % 2 * 128 + own, in + (left ? at : 0), left);
    cp_async_commit();
  };
  fetch(0);
  for (int tile = 0; tile < tiles; ++tile) {
    fetch(tile + 1);
    cp_async_wait<1>();
    __syncthreads();
    for (int i = threadIdx.x; i < 128 && tile * 128 + i < n; i += 32)
      out[tile * 128 + i] = 2.0f * stage[tile % 2 * 128 + i];
    __syncthreads();
  }
}

__global__ void half_sums(const float* in, float* out, int n) {
  float half = 0.0f, brain = 0.0f;
  for (int i = 0; i < n; ++i) {
    half += __half2float(__float2half_rn(in[i]));
    brain += __bfloat162float(__float2bfloat16_rn(in[i]));
  }
  out[0] = half;
  out[1] = brain;
  out[2] = __uint_as_float(pack_pair<__half>(in[0], in[1]));
  out[3] = __uint_as_float(pack_pair<__nv_bfloat16>(in[0], in[1]));
  out[4] = __uint_as_float(__umulhi(0xdeadbeefu, 0x12345678u));
}

}  // namespace
}  // namespace chordfast

using namespace chordfast;

extern "C" cf_status cf_simt_test(const char* name, const float* in, int64_t in_size, float* out, int64_t out_size,
                                  int option) {
  return CF_GUARD([&]() -> cf_status {
    CF_DEVICE(0);
    void* const stream = nullptr;
    const int n = static_cast<int>(in_size), rows = static_cast<int>(out_size);
    const auto is = [&](const char* other) { return !std::strcmp(name, other); };
    if (is("row_sum")) {
      CF_LAUNCH(row_sum, rows, 128, 0, stream, in, out, n / rows);
    } else if (is("row_sum_dynamic")) {
      if (option) {  // bytes of dynamic shared memory, allowed beforehand
        if (const cf_status status = allow_dynamic_shared(row_sum_dynamic<64>, option)) return status;
      }
      CF_LAUNCH((row_sum_dynamic<64>), rows, 64, option ? option : 64 * sizeof(float), stream, in, out, n / rows);
    } else if (is("coordinates")) {
      CF_LAUNCH(coordinates, dim3(3, 2, 2), dim3(4, 3, 2), 0, stream, out);
    } else if (is("collectives")) {
      CF_LAUNCH(collectives, 1, 32, 0, stream, in, out);
    } else if (is("barrier_votes")) {
      CF_LAUNCH(barrier_votes, 1, n, 0, stream, in, out);
    } else if (is("atomics")) {
      CF_LAUNCH(atomics, (n + 63) / 64, 64, 0, stream, in, out, n);
    } else if (is("product_half")) {
      CF_LAUNCH((product<__half, false>), 1, 32, 0, stream, in, out);
    } else if (is("product_bfloat16")) {
      CF_LAUNCH((product<__nv_bfloat16, true>), 1, 32, 0, stream, in, out);
    } else if (is("copies")) {
      CF_LAUNCH(copies, 1, 32, 0, stream, in, out, n);
    } else if (is("half_sums")) {
      CF_LAUNCH(half_sums, 1, 1, 0, stream, in, out, n);
    } else {
      return cf_simt_fault(name, in, in_size, out, out_size, option);
    }
    CF_LAUNCH_CHECK(stream);
    return CF_OK;
  });
}
