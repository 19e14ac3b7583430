// Backward by recomputation: one block a sequence of a head, so nothing is added up across blocks and the bits never
// vary. Two passes of the same shape, a warp holding a strip of 16 rows and walking along the other side in blocks of
// 16: strips of keys for dK and dV (scores transposed), then strips of queries for dQ. Each pass recomputes the
// probabilities p = exp2(s - lse); ds = p * (dp - delta) with dp = dO V^T and delta = sum(dO * O). Two products more
// than sharing ds would take, but no exchange between warps and no atomics.
#pragma once

#include "attention/attention_tile.cuh"

namespace chordfast {

struct AttentionBwd {
  cf_attention_bwd p;
  float factor;        // scale * log2(e)
  uint32_t threshold;  // of dropout, 0: none
  int chunk;           // rows of the other side in shared memory at a time, a multiple of 16
  int resident;        // all of q, grad, k and v stay in shared memory
};

struct BackwardTables {  // in shared memory
  const float *lse, *delta, *bias;
};

inline int attention_bwd_rows(int64_t time) {
  return static_cast<int>((time + kBlockRows - 1) / kBlockRows) * kBlockRows;
}

template <class T, int kWidth>
size_t attention_bwd_shared(int queries, int keys, int chunk, bool resident, int warps) {
  const size_t pitch = Tile<T, kWidth>::kPitch * sizeof(T);
  const int tables = 2 * attention_bwd_rows(queries) + attention_bwd_rows(keys);
  const int rows =
      resident ? 2 * (attention_bwd_rows(queries) + attention_bwd_rows(keys)) : 2 * (chunk + warps * kBlockRows);
  return tables * sizeof(float) + rows * pitch;
}

// delta of all queries, by groups of kWidth / 8 lanes a row.
template <class T, int kWidth>
__device__ void row_products(float* delta, const Sequence<T>& grad, const Sequence<T>& out, int rows) {
  constexpr int kLanes = kWidth / 8;
  const int each = static_cast<int>(blockDim.x) / kLanes, part = static_cast<int>(threadIdx.x) % kLanes;
  for (int start = 0; start < rows; start += each) {
    const int row = start + static_cast<int>(threadIdx.x) / kLanes;
    float sum = 0.0f;
    if (row < grad.rows) {
      const T *x = grad.data + row * grad.stride, *y = out.data + row * out.stride;
      if (grad.vectors && out.vectors && part * 8 < grad.width) {
        constexpr int kLoads = 8 * sizeof(T) / 16, kEach = 16 / sizeof(T);
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
          if (part * 8 + i * kEach >= grad.width) continue;
          const uint4 a = *reinterpret_cast<const uint4*>(x + part * 8 + i * kEach);
          const uint4 b = *reinterpret_cast<const uint4*>(y + part * 8 + i * kEach);
          const T *from_a = reinterpret_cast<const T*>(&a), *from_b = reinterpret_cast<const T*>(&b);
#pragma unroll
          for (int c = 0; c < kEach; ++c) sum = fmaf(to_float(from_a[c]), to_float(from_b[c]), sum);
        }
      } else if (!grad.vectors || !out.vectors) {
        for (int c = part * 8; c < min(part * 8 + 8, grad.width); ++c) sum = fmaf(to_float(x[c]), to_float(y[c]), sum);
      }
    }
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (part == 0 && row < rows) delta[row] = sum;
  }
}

// A block of p (after dropout, as the values saw it) and of ds, from its scores and dp; see attention_tile.cuh for the
// layout.
template <bool kTransposed>
__device__ __forceinline__ void block_gradient(float (&p)[8], float (&ds)[8], const BackwardTables& tables,
                                               int query_block, int key_block, int direction, float factor,
                                               DropoutKey key, uint32_t threshold) {
  const int g = lane_id() / 4, t = lane_id() % 4;
  const unsigned kept = threshold ? kept_scores<kTransposed>(key, threshold, query_block, key_block) : 0xffu;
  const float gain = threshold ? 65536.0f / static_cast<float>(threshold) : 1.0f;
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const int row = g + r / 2 % 2 * 8, column = 8 * (r / 4) + 2 * t + r % 2;
    const int query = kTransposed ? column : row, other = kTransposed ? row : column;
    const int i = query_block * kBlockRows + query, j = key_block * kBlockRows + other;
    float s = p[r] * factor + tables.bias[j];
    if (query_block == key_block &&
        ((direction == CF_ATTENTION_FORWARD && other > query) || (direction == CF_ATTENTION_BACKWARD && other < query)))
      s = -INFINITY;
    const float e = exp2f(s - tables.lse[i]);
    const bool keep = kept >> r & 1;
    ds[r] = e * ((keep ? ds[r] * gain : 0.0f) - tables.delta[i]);
    p[r] = keep ? e * gain : 0.0f;
  }
}

// One pass. Left factors of scores and dp are rows of k and v (transposed) or of q and grad, right factors the other
// two.
template <class T, int kWidth, bool kTransposed>
__device__ void attention_bwd_pass(const AttentionBwd& a, const BackwardTables& tables, T* other_rows, T* own_rows,
                                   const Which& at, DropoutKey key) {
  using Product = Tile<T, kWidth>;
  constexpr int kPitch = Product::kPitch;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x), warps = threads >> 5;
  const cf_attention_shape& s = a.p.shape;
  const int own_length = static_cast<int>(kTransposed ? s.keys : s.queries), direction = at.mode(s);
  const int other_length = static_cast<int>(kTransposed ? s.queries : s.keys);
  const int strips = (own_length + kBlockRows - 1) / kBlockRows, blocks = (other_length + kBlockRows - 1) / kBlockRows;
  const uint8_t* const own_mask = kTransposed ? at.mask(a.p.mask, s) : nullptr;
  const uint8_t* const other_mask = kTransposed ? nullptr : at.mask(a.p.mask, s);
  const cf_attention_tensor &tensor0 = kTransposed ? a.p.k : a.p.q, &tensor1 = kTransposed ? a.p.v : a.p.grad;
  const cf_attention_tensor &other0 = kTransposed ? a.p.q : a.p.k, &other1 = kTransposed ? a.p.grad : a.p.v;
  const int chunk_blocks = a.resident ? blocks : a.chunk / kBlockRows;
  const int other_size = chunk_blocks * kBlockRows * kPitch,
            own_size = (a.resident ? strips : warps) * kBlockRows * kPitch;
  const bool last_is_heaviest = direction == (kTransposed ? CF_ATTENTION_BACKWARD : CF_ATTENTION_FORWARD);
  for (int round = 0; round * warps < strips; ++round) {
    const int strip = dealt_strip(last_is_heaviest, round, strips);
    T* const own0 = own_rows + (a.resident ? strip : thread >> 5) * kBlockRows * kPitch;
    T* const own1 = own0 + own_size;
    if (!a.resident) {
      __syncwarp();  // the last reading of the strip before
      if (strip < strips) {
        load_rows<T, kWidth>(own0, sequence_of<T>(tensor0, s, at, own_length), strip * kBlockRows, kBlockRows, own_mask,
                             lane_id(), 32);
        load_rows<T, kWidth>(own1, sequence_of<T>(tensor1, s, at, own_length), strip * kBlockRows, kBlockRows, own_mask,
                             lane_id(), 32);
      }
      cp_async_wait<0>();
      __syncwarp();
    }
    typename Product::Rows left0, left1;
    if (strip < strips) {
      Product::load(left0, own0);
      Product::load(left1, own1);
    }
    float sum0[kWidth / 8][4] = {}, sum1[kWidth / 8][4] = {};
    int first, last;
    visible_blocks(direction, kTransposed, strip, blocks, first, last);
    for (int start = 0; start < blocks; start += chunk_blocks) {
      if (!a.resident && (round == 0 || chunk_blocks < blocks)) {
        __syncthreads();  // the last readers of the chunk that stands there
        const int n_rows = kBlockRows * min(chunk_blocks, blocks - start);
        load_rows<T, kWidth>(other_rows, sequence_of<T>(other0, s, at, other_length), start * kBlockRows, n_rows,
                             other_mask, thread, threads);
        load_rows<T, kWidth>(other_rows + other_size, sequence_of<T>(other1, s, at, other_length), start * kBlockRows,
                             n_rows, other_mask, thread, threads);
        cp_async_wait<0>();
        __syncthreads();
      }
      if (strip >= strips) continue;
      for (int block = max(first, start); block < min(last, start + chunk_blocks); ++block) {
        const T* const right0 = other_rows + (block - start) * kBlockRows * kPitch;
        const T* const right1 = right0 + other_size;
        float p[8], ds[8];
        Product::multiply(p, left0, right0);
        Product::multiply(ds, left1, right1);
        block_gradient<kTransposed>(p, ds, tables, kTransposed ? block : strip, kTransposed ? strip : block, direction,
                                    a.factor, key, a.threshold);
        Product::accumulate(sum0, ds, right0);
        if (kTransposed) Product::accumulate(sum1, p, right1);
      }
    }
    if (strip >= strips) continue;
    store_strip<T, kWidth>(sequence_of<T>(kTransposed ? a.p.dk : a.p.dq, s, at, own_length), strip * kBlockRows, sum0,
                           s.scale, s.scale);
    if (kTransposed)
      store_strip<T, kWidth>(sequence_of<T>(a.p.dv, s, at, own_length), strip * kBlockRows, sum1, 1.0f, 1.0f);
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(32 * kMostWarps, blocks_at_once<T, kWidth, true>())
    attention_bwd_kernel(const AttentionBwd a) {
  constexpr int kPitch = Tile<T, kWidth>::kPitch;
  const cf_attention_shape& s = a.p.shape;
  const Which at(s);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x), warps = threads >> 5;
  const int queries = static_cast<int>(s.queries), keys = static_cast<int>(s.keys);
  const uint8_t* const mask = at.mask(a.p.mask, s);
  const DropoutKey key = a.threshold ? dropout_key(a.p.seed[0], a.p.seed[1], at.number) : DropoutKey{0, 0};
  const int q_rows = (queries + kBlockRows - 1) / kBlockRows * kBlockRows;
  const int k_rows = (keys + kBlockRows - 1) / kBlockRows * kBlockRows;

  CF_DYN_SHARED(unsigned char, shared);
  const int q_size = q_rows * kPitch, k_size = k_rows * kPitch;
  T* const first = reinterpret_cast<T*>(shared);
  T* const second = first + (a.resident ? 2 * q_size : 2 * a.chunk * kPitch);
  float* const lse = reinterpret_cast<float*>(second + (a.resident ? 2 * k_size : 2 * warps * kBlockRows * kPitch));
  float *const delta = lse + q_rows, *const bias = delta + q_rows;
  if (a.resident) {
    load_rows<T, kWidth>(first, sequence_of<T>(a.p.q, s, at, queries), 0, q_rows, nullptr, thread, threads);
    load_rows<T, kWidth>(first + q_size, sequence_of<T>(a.p.grad, s, at, queries), 0, q_rows, nullptr, thread, threads);
    load_rows<T, kWidth>(second, sequence_of<T>(a.p.k, s, at, keys), 0, k_rows, mask, thread, threads);
    load_rows<T, kWidth>(second + k_size, sequence_of<T>(a.p.v, s, at, keys), 0, k_rows, mask, thread, threads);
  }
  for (int i = thread; i < q_rows; i += threads) lse[i] = i < queries ? a.p.lse[at.number * s.queries + i] : INFINITY;
  for (int j = thread; j < k_rows; j += threads) bias[j] = j < keys && (!mask || mask[j]) ? 0.0f : -INFINITY;
  row_products<T, kWidth>(delta, sequence_of<T>(a.p.grad, s, at, queries), sequence_of<T>(a.p.out, s, at, queries),
                          q_rows);
  cp_async_wait<0>();
  __syncthreads();

  const BackwardTables tables = {lse, delta, bias};
  attention_bwd_pass<T, kWidth, true>(a, tables, first, second, at, key);
  if (!a.resident) __syncthreads();
  T* const others = a.resident ? second : first;
  T* const own = a.resident ? first : second;
  attention_bwd_pass<T, kWidth, false>(a, tables, others, own, at, key);
}

}  // namespace chordfast
