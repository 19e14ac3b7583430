// The stages a stream is made of; each keeps what it still needs of its input.
#pragma once

#include <cstdint>
#include <vector>

#include "ingest/ingest_design.h"
#include "ingest/ingest_kernels.h"

namespace chordfast::ingest {

// Input samples from an absolute position on; everything before the first push is silence.
class Window {
 public:
  explicit Window(int64_t position) : position_(position), samples_(kSlack, 0.0f) {}
  void append(const float* x, int64_t n);
  void append_zeros(int64_t n);
  void drop_before(int64_t position);
  const float* at(int64_t position) const { return samples_.data() + (position - position_); }
  int64_t end() const { return position_ + static_cast<int64_t>(samples_.size()) - kSlack; }

 private:
  int64_t position_;            // of samples_[0]
  std::vector<float> samples_;  // and kSlack floats that a kernel may read but not use
};

class HalfBandStage {
 public:
  // `first` = position of the first input; a `last` stage starts its output at 0, others give their ringing too.
  HalfBandStage(const Kernels& kernels, int count, int64_t first, bool last);
  int64_t first_output() const { return first_output_; }
  void push(const float* x, int64_t n, std::vector<float>& out);
  // The rest after `n` last inputs; a `last` stage gives `total` outputs in all.
  void finish(const float* x, int64_t n, int64_t total, std::vector<float>& out);

 private:
  void run(int64_t limit, std::vector<float>& out);
  const Kernels& kernels_;
  const int count_;
  const bool last_;
  int64_t first_output_, next_;  // absolute positions
  Window window_;
};

class PolyphaseStage {
 public:
  PolyphaseStage(const Kernels& kernels, Filter filter, int64_t first);
  void push(const float* x, int64_t n, std::vector<float>& out);
  void finish(const float* x, int64_t n, int64_t total, std::vector<float>& out);

 private:
  void run(int64_t limit, std::vector<float>& out);
  void run_groups(int64_t limit, std::vector<float>& out);
  void run_interpolated(int64_t limit, std::vector<float>& out);
  void arrange();
  const Kernels& kernels_;
  Filter filter_;
  Groups groups_;
  std::vector<int64_t> start_;
  std::vector<float> grouped_, scratch_;
  int64_t next_ = 0;
  Window window_;
};

}  // namespace chordfast::ingest
