// The stages a stream is made of; each keeps what it still needs of its input.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "ingest/ingest_design.h"
#include "ingest/ingest_kernels.h"

namespace chordfast::ingest {

// Input samples from an absolute position on; everything before the first push is silence. Memory is not cleared
// beforehand and moved seldom: at these speeds either would show.
class Window {
 public:
  explicit Window(int64_t position) : position_(position) {}
  float* grow(int64_t n);  // room for n more samples, to be written by the caller
  void append_zeros(int64_t n);
  void drop_before(int64_t position) { start_ += std::max<int64_t>(0, std::min(position, end()) - position_ - start_); }
  const float* at(int64_t position) const { return samples_.get() + (position - position_); }
  int64_t end() const { return position_ + end_; }

 private:
  int64_t position_;                            // of samples_[0]
  int64_t start_ = 0, end_ = 0, capacity_ = 0;  // the samples that count; kSlack floats after them are readable
  std::unique_ptr<float[]> samples_;
};

// Where a stage writes: the next one's window, or the caller's memory.
class Sink {
 public:
  explicit Sink(Window& window) : window_(&window) {}
  Sink(float* out, int64_t room) : out_(out), room_(room) {}
  float* grow(int64_t n);
  int64_t written() const { return written_; }

 private:
  Window* window_ = nullptr;
  float* out_ = nullptr;
  int64_t room_ = 0, written_ = 0;
};

class HalfBandStage {
 public:
  // `first` = position of the first input; a `last` stage starts its output at 0, others give their ringing too.
  HalfBandStage(const Kernels& kernels, int count, int64_t first, bool last);
  int64_t first_output() const { return first_output_; }
  Window& input() { return window_; }
  void run(Sink& out) { run(INT64_MAX, out); }
  // The rest, all input being there; a `last` stage gives `total` outputs in all.
  void finish(int64_t total, Sink& out);

 private:
  void run(int64_t limit, Sink& out);
  const Kernels& kernels_;
  const int count_;
  const bool last_;
  int64_t first_output_, next_;  // absolute positions
  Window window_;
};

class PolyphaseStage {
 public:
  PolyphaseStage(const Kernels& kernels, Filter filter, int64_t first);
  Window& input() { return window_; }
  void run(Sink& out) { run(INT64_MAX, out); }
  void finish(int64_t total, Sink& out);  // until `total` outputs have been given

 private:
  void run(int64_t limit, Sink& out);
  void run_groups(int64_t limit, Sink& out);
  void run_interpolated(int64_t limit, Sink& out);
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
