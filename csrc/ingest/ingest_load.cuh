// Reading interleaved PCM as mono float: the mean of the channels, with what is not finite counted and taken as 0.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/pieces.cuh"
#include "simt/simt.h"

namespace chordfast {
namespace ingest {

// Where a stage's input comes from and its output goes to, for all songs: data of a Piece = in_begin (frames),
// in_count, out_begin, out_count. The first input and output of every song stand at these positions.
struct StageParams {
  const void* in;
  float* out;
  const Piece* pieces;
  const int32_t* owner;
  unsigned long long* non_finite;  // null unless the input is PCM
  int channels;
  int64_t in_first, out_first;
};

struct StageSong {
  int64_t index, in_begin, in_count, out_begin, out_count, tile;
  __device__ explicit StageSong(const StageParams& stage) : index(stage.owner[blockIdx.x]) {
    const Piece piece = stage.pieces[index];
    in_begin = piece.data[0], in_count = piece.data[1];
    out_begin = piece.data[2], out_count = piece.data[3];
    tile = blockIdx.x - piece.first;
  }
};

__device__ inline float finite_or_zero(float value, int& bad) {
  if ((__float_as_int(value) & 0x7f800000) != 0x7f800000) return value;
  ++bad;
  return 0.0f;
}

// Mean of the channels of one frame; divisions by powers of two are exact, so this equals the CPU's result bit by bit.
__device__ inline float mixed(const int16_t* frame, int channels, int&) {
  int sum = 0;
  for (int c = 0; c < channels; ++c) sum += frame[c];
  const float whole = 32768.0f * static_cast<float>(channels);
  return channels & (channels - 1) ? static_cast<float>(sum) / whole : static_cast<float>(sum) * (1.0f / whole);
}
__device__ inline float mixed(const float* frame, int channels, int& bad) {
  if (channels == 1) return finite_or_zero(frame[0], bad);
  float sum = 0.0f;
  for (int c = 0; c < channels; ++c) sum += finite_or_zero(frame[c], bad);
  const float whole = static_cast<float>(channels);
  return channels & (channels - 1) ? sum / whole : sum * (1.0f / whole);
}

// Samples from ... to - 1, whose frames of C channels begin at a multiple of 16 bytes: whole vectors, kFrames frames
// each.
template <class T, int C>
struct Vectors {
  static constexpr int kFrames = 16 / static_cast<int>(sizeof(T) * C);
  template <class Keep>
  static __device__ inline void read(const T* from, int begin, int end, Keep&& keep) {
    for (int i = begin + kFrames * threadIdx.x; i < end; i += kFrames * blockDim.x) {
      const uint4 bytes = *reinterpret_cast<const uint4*>(from + static_cast<int64_t>(i - begin) * C);
      T values[kFrames * C];
      std::memcpy(values, &bytes, sizeof bytes);
#pragma unroll
      for (int j = 0; j < kFrames; ++j) {
        int bad = 0;
        const float value = mixed(values + C * j, C, bad);
        keep(i + j, value, bad);
      }
    }
  }
};

// store(i, sample at position first + i) for i in [0, n), by all threads of the block: 16 bytes a load where the memory
// allows it. Samples i in [own_from, own_to) are this block's to count. Ends with a barrier.
template <class T, class Store>
__device__ inline void load_mono(const StageParams& stage, const StageSong& song, int64_t first, int n, int own_from,
                                 int own_to, Store&& store) {
  CF_SHARED(int, counted, 1);
  if (threadIdx.x == 0) counted[0] = 0;
  __syncthreads();
  const int channels = stage.channels;
  const int64_t offset = first - stage.in_first;  // of sample 0 among the frames of the song
  const T* from = static_cast<const T*>(stage.in) + (song.in_begin + offset) * channels;
  const auto clamp = [&](int64_t i) { return static_cast<int>(i < 0 ? 0 : i > n ? n : i); };
  const int begin = clamp(-offset), end = clamp(song.in_count - offset);
  int total = 0;
  const auto keep = [&](int i, float value, int bad) {
    store(i, value);
    if (i >= own_from && i < own_to) total += bad;
  };
  for (int i = threadIdx.x; i < begin; i += blockDim.x) store(i, 0.0f);
  for (int i = end + threadIdx.x; i < n; i += blockDim.x) store(i, 0.0f);
  // Whole vectors from the first sample whose frame begins at a multiple of 16 bytes, if there is one.
  const int bytes = channels * static_cast<int>(sizeof(T)), frames = bytes <= 16 && 16 % bytes == 0 ? 16 / bytes : 0;
  int aligned = end, after = end;
  for (int i = begin; i < begin + frames && i < end; ++i)
    if (reinterpret_cast<uintptr_t>(from + static_cast<int64_t>(i) * channels) % 16 == 0) {
      aligned = i;
      after = i + (end - i) / frames * frames;
      break;
    }
  const auto one = [&](int i) {
    int bad = 0;
    const float value = mixed(from + static_cast<int64_t>(i) * channels, channels, bad);
    keep(i, value, bad);
  };
  for (int i = begin + threadIdx.x; i < aligned; i += blockDim.x) one(i);
  for (int i = after + threadIdx.x; i < end; i += blockDim.x) one(i);
  const T* start = from + static_cast<int64_t>(aligned) * channels;
  if (channels == 1) Vectors<T, 1>::read(start, aligned, after, keep);
  if (channels == 2) Vectors<T, 2>::read(start, aligned, after, keep);
  if (channels == 4) Vectors<T, 4>::read(start, aligned, after, keep);
  if constexpr (sizeof(T) == 2)
    if (channels == 8) Vectors<T, 8>::read(start, aligned, after, keep);
  if (total) atomicAdd(counted, total);
  __syncthreads();
  if (threadIdx.x == 0 && stage.non_finite && counted[0])
    atomicAdd(stage.non_finite + song.index, static_cast<unsigned long long>(counted[0]));
}

}  // namespace ingest
}  // namespace chordfast
