// Forward: one block a sequence of a head. A warp takes strips of 16 queries and walks along the keys in steps of 64
// with a running maximum and sum (online softmax, Milakov & Gimelshein, 2018); scores and probabilities live in
// registers.
#pragma once

#include "attention/attention_tile.cuh"

namespace chordfast {

enum { kStepBlocks = 4 };  // 64 keys a step

struct AttentionFwd {
  cf_attention_fwd p;
  float factor;        // scale * log2(e)
  uint32_t threshold;  // of dropout, 0: none
  int chunk;           // keys in shared memory at a time, a multiple of 16
};

template <class T, int kWidth>
size_t attention_fwd_shared(int chunk, int warps) {
  const size_t pitch = Tile<T, kWidth>::kPitch * sizeof(T);
  return (2 * chunk + warps * kBlockRows) * pitch + chunk * sizeof(float);
}

// Running state of a strip; index 0 is row g, 1 is row g + 8.
template <int kWidth>
struct Softmax {
  float top[2], sum[2];  // sum: of this lane's columns only
  float out[kWidth / 8][4];
};

template <class T, int kWidth>
__device__ void attention_fwd_step(Softmax<kWidth>& state, const typename Tile<T, kWidth>::Rows& q, const T* k,
                                   const T* v, const float* bias, int strip, int block, int n_blocks, int direction,
                                   float factor, DropoutKey key, uint32_t threshold) {
  constexpr int kPitch = Tile<T, kWidth>::kPitch;
  const int g = lane_id() / 4, t = lane_id() % 4;
  float s[kStepBlocks][8], top[2] = {state.top[0], state.top[1]}, base[2], shrink[2];
#pragma unroll
  for (int b = 0; b < kStepBlocks; ++b) {
    if (b >= n_blocks) continue;
    Tile<T, kWidth>::multiply(s[b], q, k + b * kBlockRows * kPitch);
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      const int column = 8 * (r / 4) + 2 * t + r % 2, row = g + r / 2 % 2 * 8;
      s[b][r] = s[b][r] * factor + bias[b * kBlockRows + column];
      if (block + b == strip &&
          ((direction == CF_ATTENTION_FORWARD && column > row) || (direction == CF_ATTENTION_BACKWARD && column < row)))
        s[b][r] = -INFINITY;
      top[r / 2 % 2] = fmaxf(top[r / 2 % 2], s[b][r]);
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    top[i] = fmaxf(top[i], __shfl_xor_sync(0xffffffffu, top[i], 1));
    top[i] = fmaxf(top[i], __shfl_xor_sync(0xffffffffu, top[i], 2));
    base[i] = top[i] == -INFINITY ? 0.0f : top[i];
    shrink[i] = exp2f(state.top[i] - base[i]);
    state.top[i] = top[i];
    state.sum[i] *= shrink[i];
  }
#pragma unroll
  for (int n = 0; n < kWidth / 8; ++n)
#pragma unroll
    for (int r = 0; r < 4; ++r) state.out[n][r] *= shrink[r / 2];
#pragma unroll
  for (int b = 0; b < kStepBlocks; ++b) {
    if (b >= n_blocks) continue;
    const unsigned kept = threshold ? kept_scores<false>(key, threshold, strip, block + b) : 0xffu;
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      const float p = exp2f(s[b][r] - base[r / 2 % 2]);
      state.sum[r / 2 % 2] += p;
      s[b][r] = kept >> r & 1 ? p : 0.0f;
    }
    Tile<T, kWidth>::accumulate(state.out, s[b], v + b * kBlockRows * kPitch);
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(32 * kMostWarps, blocks_at_once<T, kWidth, false>())
    attention_fwd_kernel(const AttentionFwd a) {
  using Product = Tile<T, kWidth>;
  const cf_attention_shape& s = a.p.shape;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x), warps = threads >> 5;
  CF_DYN_SHARED(unsigned char, shared);
  T* const k_rows = reinterpret_cast<T*>(shared);
  T* const v_rows = k_rows + a.chunk * Product::kPitch;
  T* const q_rows = v_rows + a.chunk * Product::kPitch + (thread >> 5) * kBlockRows * Product::kPitch;
  float* const bias = reinterpret_cast<float*>(v_rows + (a.chunk + warps * kBlockRows) * Product::kPitch);

  const Which at(s);
  const uint8_t* const mask = at.mask(a.p.mask, s);
  const int direction = at.mode(s), queries = static_cast<int>(s.queries), keys = static_cast<int>(s.keys);
  const DropoutKey key = a.threshold ? dropout_key(a.p.seed[0], a.p.seed[1], at.number) : DropoutKey{0, 0};
  const int strips = (queries + kBlockRows - 1) / kBlockRows, blocks = (keys + kBlockRows - 1) / kBlockRows;
  const int chunk_blocks = a.chunk / kBlockRows;

  for (int round = 0; round * warps < strips; ++round) {
    const int strip = dealt_strip(direction == CF_ATTENTION_FORWARD, round, strips);
    typename Product::Rows rows;
    Softmax<kWidth> state = {{-INFINITY, -INFINITY}, {}, {}};
    int first, last;
    visible_blocks(direction, false, strip, blocks, first, last);
    for (int start = 0; start == 0 || start < blocks; start += chunk_blocks) {
      const bool load = round == 0 || chunk_blocks < blocks;
      if (load) {
        if (round || start) __syncthreads();  // the last readers of the chunk that stands there
        const int n_rows = kBlockRows * min(chunk_blocks, blocks - start);
        load_rows<T, kWidth>(k_rows, sequence_of<T>(a.p.k, s, at, keys), start * kBlockRows, n_rows, mask, thread,
                             threads);
        load_rows<T, kWidth>(v_rows, sequence_of<T>(a.p.v, s, at, keys), start * kBlockRows, n_rows, mask, thread,
                             threads);
        for (int j = thread; j < n_rows; j += threads) {
          const int column = start * kBlockRows + j;
          bias[j] = column < keys && (!mask || mask[column]) ? 0.0f : -INFINITY;
        }
      }
      if (start == 0) {
        __syncwarp();  // the last reading of the strip before
        if (strip < strips)
          load_rows<T, kWidth>(q_rows, sequence_of<T>(a.p.q, s, at, queries), strip * kBlockRows, kBlockRows, nullptr,
                               lane_id(), 32);
      }
      if (load || start == 0) cp_async_wait<0>();
      if (load)
        __syncthreads();
      else
        __syncwarp();
      if (strip >= strips) continue;
      if (start == 0) Product::load(rows, q_rows);
      const int from = max(first, start), to = min(last, start + chunk_blocks);
      for (int block = from; block < to; block += kStepBlocks) {
        const int offset = (block - start) * kBlockRows;
        attention_fwd_step<T, kWidth>(state, rows, k_rows + offset * Product::kPitch, v_rows + offset * Product::kPitch,
                                      bias + offset, strip, block, min(to - block, kStepBlocks), direction, a.factor,
                                      key, a.threshold);
      }
    }
    if (strip >= strips) continue;
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float sum = state.sum[i];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      // 0 only where every key is masked; NaN must come out.
      factor[i] = sum == 0.0f ? 0.0f : (a.threshold ? 65536.0f / a.threshold : 1.0f) / sum;
      const int row = strip * kBlockRows + lane_id() / 4 + 8 * i;
      if (lane_id() % 4 == 0 && row < queries)
        a.p.lse[at.number * s.queries + row] =
            sum == 0.0f ? INFINITY : (state.top[i] == -INFINITY ? 0.0f : state.top[i]) + log2f(sum);
    }
    store_strip<T, kWidth>(sequence_of<T>(a.p.out, s, at, queries), strip * kBlockRows, state.out, factor[0],
                           factor[1]);
  }
}

}  // namespace chordfast
