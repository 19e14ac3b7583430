// Tables about the pieces (songs) of a ragged batch. They reach the GPU as kernel arguments, not by copies from host
// memory: a launcher stays asynchronous, can be captured into a graph, and a replay carries its own lengths.
#pragma once

#include <cstdint>
#include <vector>

#include "common/device.cuh"
#include "simt/simt.h"

namespace chordfast {

// One song: it owns the work items first ... first + count - 1; the rest is what the op wants to know about it.
struct Piece {
  int64_t first, count;
  int64_t data[4];
};

constexpr int kPiecesAtOnce = 80;  // 48 bytes each: below the 4 KiB of arguments that every driver takes

struct PieceBatch {
  int64_t first;
  Piece pieces[kPiecesAtOnce];
};

// table[i] = piece i; owner[j] = the piece that work item j belongs to.
static __global__ void write_pieces(const PieceBatch batch, Piece* table, int32_t* owner) {
  const int64_t index = batch.first + blockIdx.x;
  const Piece& piece = batch.pieces[blockIdx.x];
  if (threadIdx.x == 0) table[index] = piece;
  for (int64_t i = threadIdx.x; i < piece.count; i += blockDim.x) owner[piece.first + i] = static_cast<int32_t>(index);
}

inline cf_status launch_pieces(const std::vector<Piece>& pieces, Piece* table, int32_t* owner, void* stream) {
  for (size_t first = 0; first < pieces.size(); first += kPiecesAtOnce) {
    PieceBatch batch;
    batch.first = static_cast<int64_t>(first);
    const size_t n = pieces.size() - first < kPiecesAtOnce ? pieces.size() - first : kPiecesAtOnce;
    for (size_t i = 0; i < kPiecesAtOnce; ++i) batch.pieces[i] = i < n ? pieces[first + i] : Piece{};
    CF_LAUNCH(write_pieces, dim3(static_cast<unsigned>(n)), dim3(128), 0, stream, batch, table, owner);
    CF_LAUNCH_CHECK(stream);
  }
  return CF_OK;
}

}  // namespace chordfast
