// What forward and backward share on CUDA: products of 16 x 16 blocks by one warp, loads into shared memory, dropout.
//
// A block of scores is float s[8] in a lane, laid out as two m16n8 tensor-core results side by side (g = lane / 4,
// t = lane % 4): s[4n + r] stands at row g + 8 (r / 2), column 8n + 2t + r % 2. A strip of results, 16 rows by kWidth
// columns, is float a[kWidth / 8][4] with the same rows; Tile::column says which column. fp32 uses the same layout
// without tensor cores, so that its arithmetic is exact fp32.
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/attention.h"
#include "attention/attention_philox.h"
#include "common/cp_async.cuh"
#include "common/mma.cuh"
#include "simt/simt.h"

namespace chordfast {

enum { kBlockRows = 16, kMostWarps = 4 };

// Blocks that share a multiprocessor's registers: the most that need no spills (tests/build/ptxas.json).
template <class T, int kWidth, bool kBackward>
constexpr int blocks_at_once() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if (kBackward && kWidth == 32) return 3;
#endif
  return kWidth == 64 ? 2 : kWidth == 32 && sizeof(T) == 2 ? 4 : 3;
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void from_float(float x, float& to) { to = x; }
__device__ __forceinline__ void from_float(float x, __half& to) { to = __float2half_rn(x); }
__device__ __forceinline__ void from_float(float x, __nv_bfloat16& to) { to = __float2bfloat16_rn(x); }

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x & 31); }

// 16-bit types: tensor cores.
template <class T, int kWidth>
struct Tile {
  // Elements from row to row: 16 bytes more than a row, so that eight rows lie in different banks.
  static constexpr int kPitch = kWidth + 8;

  struct Rows {  // 16 rows as the left factor
    uint32_t a[kWidth / 16][4];
  };

  __device__ static void load(Rows& rows, const T* from) {
    const int lane = lane_id(), row = (lane / 8 % 2) * 8 + lane % 8, column = lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kWidth / 16; ++k) load_matrix<4, false>(rows.a[k], from + row * kPitch + k * 16 + column);
  }

  // s = rows * b^T, b 16 rows in shared memory.
  __device__ static void multiply(float (&s)[8], const Rows& rows, const T* b) {
    const int lane = lane_id(), row = lane / 16 * 8 + lane % 8, column = (lane / 8 % 2) * 8;
    float low[4] = {}, high[4] = {};
#pragma unroll
    for (int k = 0; k < kWidth / 16; ++k) {
      uint32_t r[4];
      load_matrix<4, false>(r, b + row * kPitch + k * 16 + column);
      const uint32_t first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
      mma_m16n8k16<T>(low, rows.a[k], first, low);
      mma_m16n8k16<T>(high, rows.a[k], second, high);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      s[r] = low[r];
      s[4 + r] = high[r];
    }
  }

  // sum += p * b, b 16 rows in shared memory; p is rounded to T.
  __device__ static void accumulate(float (&sum)[kWidth / 8][4], const float (&p)[8], const T* b) {
    const int lane = lane_id(), row = (lane / 8 % 2) * 8 + lane % 8, column = lane / 16 * 8;
    const uint32_t a[4] = {pack_pair<T>(p[0], p[1]), pack_pair<T>(p[2], p[3]), pack_pair<T>(p[4], p[5]),
                           pack_pair<T>(p[6], p[7])};
#pragma unroll
    for (int n = 0; n < kWidth / 8; n += 2) {
      uint32_t r[4];
      load_matrix<4, true>(r, b + row * kPitch + n * 8 + column);
      const uint32_t first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
      mma_m16n8k16<T>(sum[n], a, first, sum[n]);
      mma_m16n8k16<T>(sum[n + 1], a, second, sum[n + 1]);
    }
  }

  __device__ static int column(int n, int r) { return 8 * n + 2 * (lane_id() % 4) + r % 2; }
};

// fp32: ordinary multiply-adds, the left factor read from shared memory as it is needed.
template <int kWidth>
struct Tile<float, kWidth> {
  static constexpr int kPitch = kWidth + 4;

  struct Rows {
    const float* first;  // this lane's row g; row g + 8 lies 8 pitches on
  };

  __device__ static void load(Rows& rows, const float* from) { rows.first = from + lane_id() / 4 * kPitch; }

  __device__ static void multiply(float (&s)[8], const Rows& rows, const float* b) {
    const float* own = b + 2 * (lane_id() % 4) * kPitch;
#pragma unroll
    for (int r = 0; r < 8; ++r) s[r] = 0.0f;
#pragma unroll 2
    for (int k = 0; k < kWidth; k += 4) {
      const float4 upper = *reinterpret_cast<const float4*>(rows.first + k);
      const float4 lower = *reinterpret_cast<const float4*>(rows.first + 8 * kPitch + k);
#pragma unroll
      for (int c = 0; c < 4; ++c) {  // columns 2t, 2t + 1, 2t + 8, 2t + 9
        const float4 x = *reinterpret_cast<const float4*>(own + (c % 2 + c / 2 * 8) * kPitch + k);
        float& up = s[c / 2 * 4 + c % 2];
        float& down = s[c / 2 * 4 + c % 2 + 2];
        up = fmaf(upper.w, x.w, fmaf(upper.z, x.z, fmaf(upper.y, x.y, fmaf(upper.x, x.x, up))));
        down = fmaf(lower.w, x.w, fmaf(lower.z, x.z, fmaf(lower.y, x.y, fmaf(lower.x, x.x, down))));
      }
    }
  }

  __device__ static void accumulate(float (&sum)[kWidth / 8][4], const float (&p)[8], const float* b) {
    const int lane = lane_id();
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      // Column j of p is held by one lane of each group of four.
      const int holder = (lane & ~3) | (j % 8 / 2);
      const float upper = __shfl_sync(0xffffffffu, p[j / 8 * 4 + j % 2], holder);
      const float lower = __shfl_sync(0xffffffffu, p[j / 8 * 4 + j % 2 + 2], holder);
#pragma unroll
      for (int n = 0; n < kWidth / 8; n += 2) {
        const float4 x = *reinterpret_cast<const float4*>(b + j * kPitch + 8 * n + 4 * (lane % 4));
        sum[n][0] = fmaf(upper, x.x, sum[n][0]);
        sum[n][1] = fmaf(upper, x.y, sum[n][1]);
        sum[n + 1][0] = fmaf(upper, x.z, sum[n + 1][0]);
        sum[n + 1][1] = fmaf(upper, x.w, sum[n + 1][1]);
        sum[n][2] = fmaf(lower, x.x, sum[n][2]);
        sum[n][3] = fmaf(lower, x.y, sum[n][3]);
        sum[n + 1][2] = fmaf(lower, x.z, sum[n + 1][2]);
        sum[n + 1][3] = fmaf(lower, x.w, sum[n + 1][3]);
      }
    }
  }

  __device__ static int column(int n, int r) { return 16 * (n / 2) + 4 * (lane_id() % 4) + 2 * (n % 2) + r % 2; }
};

// One sequence of one head in global memory.
template <class T>
struct Sequence {
  T* data;
  int64_t stride;  // from time step to time step
  int rows, width;
  bool vectors;  // rows may be read 16 bytes at a time
};

// Which sequence a block of threads works on; 32-bit numbers, as divisions by 64-bit ones are slow.
struct Which {
  int number, head, batch, direction;  // direction: index of the leading axis

  __device__ explicit Which(const cf_attention_shape& s)
      : number(static_cast<int>(blockIdx.x)),
        head(number % static_cast<int>(s.heads)),
        batch(number / static_cast<int>(s.heads) % static_cast<int>(s.batch)),
        direction(number / static_cast<int>(s.heads) / static_cast<int>(s.batch)) {}
  __device__ int mode(const cf_attention_shape& s) const {
    return s.direction == CF_ATTENTION_BOTH ? CF_ATTENTION_FORWARD + direction : s.direction;
  }
  __device__ const uint8_t* mask(const uint8_t* masks, const cf_attention_shape& s) const {
    return masks ? masks + batch * s.keys : nullptr;
  }
};

// Made anew where it is needed: that costs less than the registers to keep it.
template <class T>
__device__ __forceinline__ Sequence<T> sequence_of(const cf_attention_tensor& tensor, const cf_attention_shape& s,
                                                   const Which& at, int64_t rows) {
  T* data = static_cast<T*>(tensor.data) + at.direction * tensor.stride[0] + at.batch * tensor.stride[1] +
            at.head * tensor.stride[2];
  const int each = 16 / sizeof(T), width = static_cast<int>(s.width);
  const bool vectors = width % each == 0 && tensor.stride[3] % each == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  return {data, tensor.stride[3], static_cast<int>(rows), width, vectors};
}

// Starts copying rows first ... first + n - 1 to shared memory, shared among `threads` threads, of which this is
// `thread`. Zeros beyond the sequence's rows and width and where `mask` is 0. Follow with cp_async_wait<0>() and a
// barrier.
template <class T, int kWidth>
__device__ void load_rows(T* to, const Sequence<T>& from, int first, int n, const uint8_t* mask, int thread,
                          int threads) {
  constexpr int kPitch = Tile<T, kWidth>::kPitch, kEach = 16 / sizeof(T), kPieces = kWidth / kEach;
  if (from.vectors) {
    for (int i = thread; i < n * kPieces; i += threads) {
      const int row = first + i / kPieces, column = i % kPieces * kEach;
      const bool real = row < from.rows && column < from.width && (!mask || mask[row]);
      cp_async<16>(to + i / kPieces * kPitch + column, real ? from.data + row * from.stride + column : from.data,
                   real ? 16 : 0);
    }
    cp_async_commit();
  } else {
    for (int i = thread; i < n * kWidth; i += threads) {
      const int row = first + i / kWidth, column = i % kWidth;
      const bool real = row < from.rows && column < from.width && (!mask || mask[row]);
      T value;
      from_float(0.0f, value);
      if (real) value = from.data[row * from.stride + column];
      to[i / kWidth * kPitch + column] = value;
    }
  }
}

// factor * a, rows first ... first + 15 of a sequence; `upper` and `lower` are the factors of rows g and g + 8.
template <class T, int kWidth>
__device__ void store_strip(const Sequence<T>& to, int first, const float (&a)[kWidth / 8][4], float upper,
                            float lower) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + lane_id() / 4 + 8 * half;
    if (row >= to.rows) continue;
    const float factor = half ? lower : upper;
    T* line = to.data + row * to.stride;
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      const int column = Tile<T, kWidth>::column(n, 0);
      struct alignas(2 * sizeof(T)) Two {
        T low, high;
      } pair;
      from_float(a[n][2 * half] * factor, pair.low);
      from_float(a[n][2 * half + 1] * factor, pair.high);
      if (to.vectors) {
        if (column < to.width) *reinterpret_cast<Two*>(line + column) = pair;
      } else {
        if (column < to.width) line[column] = pair.low;
        if (column + 1 < to.width) line[column + 1] = pair.high;
      }
    }
  }
}

// Which of a block's scores dropout keeps, bit r for s[r]. kTransposed: rows are keys and columns queries.
template <bool kTransposed>
__device__ __forceinline__ unsigned kept_scores(DropoutKey key, uint32_t threshold, int query_block, int key_block) {
  const int g = lane_id() / 4, t = lane_id() % 4;
  unsigned kept = 0;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    uint32_t first, second;
    if (kTransposed)
      dropout_bits(key, query_block, key_block, 2 * t + e, g, first, second);
    else
      dropout_bits(key, query_block, key_block, g, 2 * t + e, first, second);
    const int across = kTransposed ? 2 : 4, down = kTransposed ? 4 : 2;  // steps in s to key + 8 and to query + 8
    kept |= static_cast<unsigned>((first & 0xffffu) < threshold) << e;
    kept |= static_cast<unsigned>((first >> 16) < threshold) << (e + across);
    kept |= static_cast<unsigned>((second & 0xffffu) < threshold) << (e + down);
    kept |= static_cast<unsigned>((second >> 16) < threshold) << (e + 6);
  }
  return kept;
}

// Blocks of `other` (keys, or queries when kTransposed) that strip `strip` has to do with: first <= b < last.
__device__ __forceinline__ void visible_blocks(int direction, bool transposed, int strip, int blocks, int& first,
                                               int& last) {
  const bool before = transposed ? direction == CF_ATTENTION_BACKWARD : direction == CF_ATTENTION_FORWARD;
  const bool after = transposed ? direction == CF_ATTENTION_FORWARD : direction == CF_ATTENTION_BACKWARD;
  first = after ? strip : 0;
  last = before && strip + 1 < blocks ? strip + 1 : blocks;
}

// Strips are dealt to the warps heaviest first, there and back: the warp's strip of a round, or one >= strips.
__device__ __forceinline__ int dealt_strip(bool last_is_heaviest, int round, int strips) {
  const int warps = static_cast<int>(blockDim.x >> 5), warp = static_cast<int>(threadIdx.x >> 5);
  const int place = round * warps + (round % 2 ? warps - 1 - warp : warp);
  if (place >= strips) return strips;
  return last_is_heaviest ? strips - 1 - place : place;
}

}  // namespace chordfast
