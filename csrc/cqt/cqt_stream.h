// One signal, or a range of its frames, on its way through the octaves; see docs/kernels/cqt.md.
#pragma once

#include <cstdint>
#include <vector>

#include "cqt/cqt_plan.h"

namespace chordfast {

// A growing signal of which only the part still needed is kept. Positions count from the start of the whole signal.
class Level {
 public:
  void start(int64_t position, int64_t zeros);  // the next sample is `position`; `zeros` zeros stand before it
  float* extend(int64_t n);                     // room for n more samples (to be filled by the caller)
  void extend_zeros(int64_t n);
  const float* at(int64_t position) const { return data_.data() + (position - begin_); }
  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }
  void forget(int64_t position);  // samples before `position` are no longer needed

 private:
  std::vector<float> data_;
  int64_t begin_ = 0, end_ = 0;
};

class CqtStream {
 public:
  // Frames from first_frame on. A start inside the signal is primed with the samples from start_sample(first_frame) on.
  explicit CqtStream(const cf_cqt_plan& plan, int64_t first_frame = 0);

  static int64_t start_sample(const cf_cqt_plan& plan, int64_t first_frame);

  // With a destination, frames [first_frame, end_frame) go there directly, otherwise into an own buffer.
  void write_to(float* out, int64_t end_frame);

  void push(const float* x, int64_t n);
  void finish();

  int64_t ready() const;  // complete frames not yet taken
  void take(float* out, int64_t rows);
  bool done() const;  // all frames of the destination are written

 private:
  void grow_levels();
  void emit(bool last);
  void emit_tile(int octave, int64_t frame, int count);
  void compact();
  void prefetch();
  void start_corrections();
  void end_corrections();
  void correct(int octave, int64_t frame, float* sums) const;
  float* row(int64_t frame);

  const cf_cqt_plan& plan_;
  int64_t first_, limit_;  // frames wanted: [first_, limit_)
  int64_t begin_sample_;
  int64_t total_ = -1;  // samples of the whole signal once known
  std::vector<Level> levels_;
  std::vector<int64_t> next_;  // per octave, the next frame to compute
  // Per level, what librosa's cut at the signal's ends removes: positions -kEdge ... kEdge-1 around 0 and around the
  // length.
  std::vector<std::vector<float>> start_cut_, end_cut_;
  int64_t taken_;
  float* out_ = nullptr;
  std::vector<float> rows_, sums_, scratch_;
  const float* upcoming_ = nullptr;  // input of the push under way that is not copied yet
  const float* upcoming_end_ = nullptr;
  bool finished_ = false;
};

}  // namespace chordfast
