// One warp a row: both rows of logits are read once into registers, the gradient is written once.
#pragma once

#include <cstdint>
#include <cstring>

#include "simt/simt.h"

namespace chordfast {
namespace kd_loss {

constexpr int kWarps = 8, kRowsPerWarp = 4, kRowsPerBlock = kWarps * kRowsPerWarp;
constexpr int kCountBlocks = 64;  // at most; a warp adds their counts up with two loads a lane
constexpr int kSums = 4;
constexpr unsigned kAll = 0xffffffffu;

template <class T>
struct Args {
  const T* student;
  const T* teacher;       // null: no distillation
  const int64_t* target;  // null: no target, so nothing is ignored
  const uint8_t* mask;    // null: nothing masked
  const float* class_weights;
  T* gradient;  // null: not wanted
  float* loss;
  float* stats;
  int64_t* valid;
  unsigned* ticket;  // workspace: blocks that are done,
  int* counts;       // rows that count, by block of count_rows,
  float* partial;    // sums of each block of the main kernel
  int64_t ignore_index;
  float temperature, log2e_by_t, alpha, gamma, low, high;
  float weight_at_1, weight_slope;  // of a row of confidence c > high: weight_at_1 + weight_slope * (1 - c)
  int rows, classes, count_blocks, power;
  bool selective, has_ignore, has_hard, late_division;
};

template <class T>
__device__ __forceinline__ bool row_counts(const Args<T>& a, int row) {
  return (!a.mask || a.mask[row]) && !(a.target && a.has_ignore && a.target[row] == a.ignore_index);
}

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(__half x) { return __half2float(x); }
__device__ __forceinline__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void narrow(float x, float* to) { *to = x; }
__device__ __forceinline__ void narrow(float x, __half* to) { *to = __float2half_rn(x); }
__device__ __forceinline__ void narrow(float x, __nv_bfloat16* to) { *to = __float2bfloat16_rn(x); }

// V elements that travel as one word of 2 to 16 bytes.
template <int bytes>
struct Word;
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};

template <class T, int V>
__device__ __forceinline__ void load(const T* from, float* to) {
  using W = typename Word<V * sizeof(T)>::type;
  const W word = *reinterpret_cast<const W*>(from);
  T items[V];
  memcpy(static_cast<void*>(items), &word, sizeof word);
#pragma unroll
  for (int v = 0; v < V; ++v) to[v] = wide(items[v]);
}

template <class T, int V>
__device__ __forceinline__ void store(const float* from, T* to) {
  using W = typename Word<V * sizeof(T)>::type;
  T items[V];
#pragma unroll
  for (int v = 0; v < V; ++v) narrow(from[v], items + v);
  W word;
  memcpy(&word, items, sizeof word);
  *reinterpret_cast<W*>(to) = word;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step; step /= 2) x += __shfl_xor_sync(kAll, x, step);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int step = 16; step; step /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, step));
  return x;
}

// exp(d) from exp(d / T): its power where T is 1 ... 4, else another exponential.
__device__ __forceinline__ float sharp(float soft, float d, int power) {
  const float square = soft * soft;
  if (power == 0) return exp2f(d * 1.44269504f);
  return power == 1 ? soft : power == 2 ? square : power == 3 ? square * soft : square * square;
}

// ln(1 + y) for y >= 0: the logarithm of the rounded sum, corrected for the rounding (Hewlett-Packard's formula).
__device__ __forceinline__ float log_1_plus(float y) {
  const float u = 1.0f + y;
  return u == 1.0f ? y : logf(u) * (y / (u - 1.0f));
}

// What a row's elements add up to, and what they are multiplied with in the gradient
// to_soft * exp(z/T) - to_teach * exp(u/T) - to_hard * exp(z), at_target instead of the last at the target.
struct RowSums {
  float soft, teach, cross, others;
  float below;  // the target's z - max
  float rest;   // teach without its largest, where that is nearly all
};
struct RowFactors {
  float to_soft, to_teach, to_hard, at_target;
};
// What the rows of one warp add up to, in shared memory; only lane 0 adds.
using WarpSums = float[kSums];  // distillation, hard loss, dropped, damped

// Whether the weight needs 1 - c, of which 1 - 1/teach would leave few digits.
template <class T>
__device__ __forceinline__ bool very_sure(const Args<T>& a, const RowSums& s) {
  return a.selective && s.teach * a.high < 1.0f;
}

template <class T>
__device__ __forceinline__ RowFactors finish_row(const Args<T>& a, const RowSums& s, int64_t y, float unit, int lane,
                                                 WarpSums& sums) {
  RowFactors f{0.0f, 0.0f, 0.0f, 0.0f};
  if (a.teacher) {
    const float confidence = 1.0f / s.teach;  // the largest exponential is exp(0)
    const float divergence = s.cross / (s.teach * a.temperature) + (logf(s.soft) - logf(s.teach));
    float w = 1.0f;
    if (a.selective) {
      if (very_sure(a, s)) {
        w = a.weight_at_1 + a.weight_slope * (s.rest / s.teach);
        if (lane == 0) sums[3] += 1.0f;
      }
      if (confidence < a.low) {
        w = 0.0f;
        if (lane == 0) sums[2] += 1.0f;
      }
    }
    if (lane == 0 && (w > 0.0f || divergence != divergence)) sums[0] += a.temperature * a.temperature * w * divergence;
    const float scale = (a.has_hard ? a.alpha : 1.0f) * a.temperature * unit * w;
    f.to_soft = scale / s.soft;
    f.to_teach = scale / s.teach;
  }
  if (a.has_hard) {
    const float own = exp2f(s.below * 1.44269504f), sum = own + s.others, p = own / sum, q = s.others / sum;
    const float minus_log_p = own >= 0.5f ? log_1_plus(s.others / own) : logf(sum) - s.below;
    const float weight = a.class_weights && own == own ? a.class_weights[y] : 1.0f;  // own is NaN if y is no class
    float modulation = 1.0f, slope = -1.0f;
    if (a.gamma > 0.0f) {
      const float p_log_p = p > 0.0f ? p * minus_log_p : p;
      modulation = a.gamma == 2.0f ? q * q : a.gamma == 1.0f ? q : exp2f(a.gamma * log2f(q));
      const float slower = a.gamma == 2.0f ? q : a.gamma == 1.0f ? 1.0f : modulation / q;
      slope = q == 0.0f ? 0.0f : -a.gamma * p_log_p * slower - modulation;
    }
    if (lane == 0 && modulation != 0.0f) sums[1] += weight * modulation * minus_log_p;
    const float b = (a.teacher ? 1.0f - a.alpha : 1.0f) * unit * weight * slope;
    f.to_hard = b / sum;
    f.at_target = b * q;
  }
  return f;
}

// Adds up what the blocks of count_rows found; every lane gets the factor of the gradient.
template <class T>
__device__ __forceinline__ int valid_rows(const Args<T>& a, int lane) {
  int count = lane < a.count_blocks ? a.counts[lane] : 0;
  if (lane + 32 < a.count_blocks) count += a.counts[lane + 32];
#pragma unroll
  for (int step = 16; step; step /= 2) count += __shfl_xor_sync(kAll, count, step);
  return count;
}
__device__ __forceinline__ float divisor(int valid) { return valid > 0 ? static_cast<float>(valid) : 1.0f; }

// How many rows count (the gradient is divided by it before all rows have been seen); also sets the ticket to 0.
template <class T>
__global__ void __launch_bounds__(256) count_rows(const Args<T> a) {
  CF_SHARED(int, part, 8);
  int count = 0;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; row < a.rows;
       row += int64_t{256} * gridDim.x)
    count += row_counts(a, static_cast<int>(row));
#pragma unroll
  for (int step = 16; step; step /= 2) count += __shfl_xor_sync(kAll, count, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = count;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < 8; ++i) count += part[i];
  a.counts[blockIdx.x] = count;
  if (blockIdx.x == 0) *a.ticket = 0;
}

// The sums of this block to memory; the block that finishes last adds up all of them, in the order of their numbers, so
// that the result does not depend on which one that is.
template <class T>
__device__ void finish_block(const Args<T>& a, const WarpSums* part) {
  CF_SHARED(unsigned, last, 1);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
  if (threadIdx.x < kSums) {
    float sum = 0.0f;
    for (int i = 0; i < kWarps; ++i) sum += part[i][threadIdx.x];
    a.partial[static_cast<int64_t>(blockIdx.x) * kSums + threadIdx.x] = sum;
    __threadfence();
  }
  __syncthreads();
  if (threadIdx.x == 0) last[0] = atomicAdd(a.ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last[0]) return;
  __threadfence();

  CF_SHARED(double, total, kWarps * 32);
  double sum = 0.0;
  constexpr int kStep = kWarps * 32 / kSums;
  for (int64_t i = threadIdx.x / kSums; i < gridDim.x; i += kStep)
    sum += __ldcg(a.partial + i * kSums + threadIdx.x % kSums);
  total[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kWarps * 16; half >= kSums; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) total[threadIdx.x] += total[threadIdx.x + half];
    __syncthreads();
  }
  if (warp != 0) return;
  const int valid = valid_rows(a, lane);
  if (lane != 0) return;
  const double count = valid > 0 ? valid : 1.0, kd = total[0] / count, hard = total[1] / count;
  const double mixed = a.alpha * kd + (1.0 - static_cast<double>(a.alpha)) * hard;
  const bool both = a.teacher && a.has_hard, cut = both && mixed < 0.0;
  *a.loss = static_cast<float>(cut ? 0.0 : both ? mixed : a.teacher ? kd : hard);
  a.stats[0] = static_cast<float>(kd);
  a.stats[1] = static_cast<float>(hard);
  a.stats[2] = static_cast<float>(total[2] / count);
  a.stats[3] = static_cast<float>(total[3] / count);
  a.stats[4] = cut ? 0.0f : a.late_division ? static_cast<float>(1.0 / count) : 1.0f;
  *a.valid = valid;
}

// Target's z - max; NaN for a target that is no class, which makes the loss and the row's gradient NaN.
template <class T>
__device__ __forceinline__ float below_max(const Args<T>& a, const T* z, int64_t y, float max_z) {
  return y >= 0 && y < a.classes ? wide(z[y]) - max_z : __int_as_float(0x7fffffff);
}

// Blocks a multiprocessor should hold: as many as registers allow without spilling (48 a thread for 5, 64 for 4).
template <class T, int V, int P>
constexpr int kBlocksAtOnce = V * P > 8                              ? 1
                              : P == 1 || (sizeof(T) == 4 && V == 2) ? (V == 8 ? 4 : 5)
                                                                     : 4;

// Rows of up to 32 * V * P classes, in registers; `classes` is a multiple of V, and every row aligned to V elements.
template <class T, int V, int P>
__global__ void __launch_bounds__(kWarps * 32, kBlocksAtOnce<T, V, P>) rows_in_registers(const Args<T> a) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  CF_SHARED(WarpSums, sums, kWarps);
  if (lane < kSums) sums[warp][lane] = 0.0f;
  __syncwarp();
  float unit = -1.0f;
  for (int i = 0; i < kRowsPerWarp; ++i) {
    const int row = static_cast<int>(blockIdx.x) * kRowsPerBlock + i * kWarps + warp;
    if (row >= a.rows) break;
    const int64_t at = static_cast<int64_t>(row) * a.classes;
    float z[V * P], u[V * P];
    if (!row_counts(a, row)) {
      if (a.gradient) {
#pragma unroll
        for (int v = 0; v < V; ++v) z[v] = 0.0f;
        for (int j = lane * V; j < a.classes; j += 32 * V) store<T, V>(z, a.gradient + at + j);
      }
      continue;
    }
    const int64_t y = a.has_hard ? a.target[row] : -1;
    float max_z = -INFINITY, max_u = -INFINITY;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int j = (p * 32 + lane) * V;
#pragma unroll
      for (int v = 0; v < V; ++v) z[p * V + v] = u[p * V + v] = -INFINITY;
      if (j < a.classes) {
        load<T, V>(a.student + at + j, z + p * V);
        if (a.teacher) load<T, V>(a.teacher + at + j, u + p * V);
      }
    }
#pragma unroll
    for (int k = 0; k < V * P; ++k) {
      max_z = fmaxf(max_z, z[k]);
      max_u = fmaxf(max_u, u[k]);
    }
    max_z = warp_max(max_z);
    if (a.teacher) max_u = warp_max(max_u);

    // From here z holds exp(z/T), u exp(u/T).
    RowSums s{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int p = 0; p < P; ++p)
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const int k = p * V + v;
        const float dz = z[k] - max_z, soft = exp2f(dz * a.log2e_by_t);
        if (a.teacher) {
          const float du = u[k] - max_u, teach = exp2f(du * a.log2e_by_t);
          s.soft += soft;
          s.teach += teach;
          if (teach > 0.0f) s.cross += teach * (du - dz);
          u[k] = teach;
        }
        if ((p * 32 + lane) * V + v != y) s.others += sharp(soft, dz, a.power);
        z[k] = soft;
      }
    if (a.teacher) {
      s.soft = warp_sum(s.soft);
      s.teach = warp_sum(s.teach);
      s.cross = warp_sum(s.cross);
      if (very_sure(a, s)) {
#pragma unroll
        for (int k = 0; k < V * P; ++k) s.rest += u[k] < 1.0f ? u[k] : 0.0f;
        s.rest = warp_sum(s.rest);
        s.rest += rintf(s.teach - s.rest) - 1.0f;
      }
    }
    if (a.has_hard) {
      s.others = warp_sum(s.others);
      s.below = below_max(a, a.student + at, y, max_z);
    }
    if (unit < 0.0f) unit = a.late_division ? 1.0f : 1.0f / divisor(valid_rows(a, lane));
    const RowFactors f = finish_row(a, s, y, unit, lane, sums[warp]);
    if (!a.gradient) continue;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int j = (p * 32 + lane) * V;
      if (j >= a.classes) continue;
      float g[V], again[V];
      if (a.power == 0) load<T, V>(a.student + at + j, again);  // rarely: other temperatures than 1, 2, 3, 4
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const int k = p * V + v;
        g[v] = a.teacher ? z[k] * f.to_soft - u[k] * f.to_teach : 0.0f;
        const float hard = a.power == 0 ? exp2f((again[v] - max_z) * 1.44269504f) : sharp(z[k], 0.0f, a.power);
        if (a.has_hard) g[v] += j + v == y ? f.at_target : -hard * f.to_hard;
      }
      store<T, V>(g, a.gradient + at + j);
    }
  }
  finish_block(a, sums);
}

// Rows of any length: three passes over them, the second and third from the caches.
template <class T>
__global__ void __launch_bounds__(kWarps * 32, 4) rows_in_passes(const Args<T> a) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  CF_SHARED(WarpSums, sums, kWarps);
  if (lane < kSums) sums[warp][lane] = 0.0f;
  __syncwarp();
  float unit = -1.0f;
  for (int i = 0; i < kRowsPerWarp; ++i) {
    const int row = static_cast<int>(blockIdx.x) * kRowsPerBlock + i * kWarps + warp;
    if (row >= a.rows) break;
    const int64_t at = static_cast<int64_t>(row) * a.classes;
    const T *z = a.student + at, *u = a.teacher ? a.teacher + at : z;
    T* const g = a.gradient ? a.gradient + at : nullptr;
    if (!row_counts(a, row)) {
      if (g)
        for (int j = lane; j < a.classes; j += 32) narrow(0.0f, g + j);
      continue;
    }
    const int64_t y = a.has_hard ? a.target[row] : -1;
    float max_z = -INFINITY, max_u = -INFINITY;
    for (int j = lane; j < a.classes; j += 32) {
      max_z = fmaxf(max_z, wide(z[j]));
      max_u = fmaxf(max_u, wide(u[j]));
    }
    max_z = warp_max(max_z);
    max_u = warp_max(max_u);
    RowSums s{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int j = lane; j < a.classes; j += 32) {
      const float dz = wide(z[j]) - max_z, soft = exp2f(dz * a.log2e_by_t);
      if (a.teacher) {
        const float du = wide(u[j]) - max_u, teach = exp2f(du * a.log2e_by_t);
        s.soft += soft;
        s.teach += teach;
        if (teach > 0.0f) s.cross += teach * (du - dz);
      }
      if (j != y) s.others += sharp(soft, dz, a.power);
    }
    s.soft = warp_sum(s.soft);
    s.teach = warp_sum(s.teach);
    s.cross = warp_sum(s.cross);
    s.others = warp_sum(s.others);
    if (a.teacher && very_sure(a, s)) {
      for (int j = lane; j < a.classes; j += 32) {
        const float teach = exp2f((wide(u[j]) - max_u) * a.log2e_by_t);
        s.rest += teach < 1.0f ? teach : 0.0f;
      }
      s.rest = warp_sum(s.rest);
      s.rest += rintf(s.teach - s.rest) - 1.0f;
    }
    if (a.has_hard) s.below = below_max(a, z, y, max_z);
    if (unit < 0.0f) unit = a.late_division ? 1.0f : 1.0f / divisor(valid_rows(a, lane));
    const RowFactors f = finish_row(a, s, y, unit, lane, sums[warp]);
    if (!g) continue;
    for (int j = lane; j < a.classes; j += 32) {
      const float dz = wide(z[j]) - max_z, soft = exp2f(dz * a.log2e_by_t);
      float value = a.teacher ? soft * f.to_soft - exp2f((wide(u[j]) - max_u) * a.log2e_by_t) * f.to_teach : 0.0f;
      if (a.has_hard) value += j == y ? f.at_target : -sharp(soft, dz, a.power) * f.to_hard;
      narrow(value, g + j);
    }
  }
  finish_block(a, sums);
}

// out = in * grad_output * stats[4]; where that is 1 and out is in, the blocks leave at once.
template <class T, int V>
__global__ void __launch_bounds__(256)
    scale(const T* in, T* out, const float* grad_output, const float* stats, int64_t n) {
  const float factor = *grad_output * stats[4];
  if (factor == 1.0f && in == out) return;
  const int64_t step = int64_t{256} * gridDim.x, first = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  for (int64_t i = first; i < n / V; i += step) {
    float x[V];
    load<T, V>(in + i * V, x);
#pragma unroll
    for (int v = 0; v < V; ++v) x[v] *= factor;
    store<T, V>(x, out + i * V);
  }
  for (int64_t i = n / V * V + first; i < n; i += step) narrow(wide(in[i]) * factor, out + i);
}

}  // namespace kd_loss
}  // namespace chordfast
