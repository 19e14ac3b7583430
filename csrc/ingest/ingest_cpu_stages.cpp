#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "ingest/ingest_stages.h"

namespace chordfast::ingest {

int64_t polyphase_scratch(const Groups& groups, int lanes) {
  const auto up = [&](int64_t n) { return (n + lanes - 1) / lanes * lanes; };
  return (up(groups.segment_in + groups.taps) + up(groups.segment_out)) * lanes;
}

const Kernels& kernels(Simd level) {
#if defined(__x86_64__)
  if (level == Simd::avx512) return kernels_avx512;
  if (level == Simd::avx2) return kernels_avx2;
#endif
  (void)level;
  return kernels_plain;
}

float* Window::grow(int64_t n) {
  if (end_ + n + kSlack > capacity_) {
    const int64_t keep = end_ - start_;
    if (2 * (keep + n) + kSlack > capacity_) {
      capacity_ = 4 * (keep + n) + kSlack;
      std::unique_ptr<float[]> larger(new float[capacity_]);
      std::copy_n(samples_.get() + start_, keep, larger.get());
      samples_ = std::move(larger);
    } else {
      std::memmove(samples_.get(), samples_.get() + start_, keep * sizeof(float));
    }
    position_ += start_;
    start_ = 0;
    end_ = keep;
  }
  end_ += n;
  std::fill_n(samples_.get() + end_, kSlack, 0.0f);
  return samples_.get() + end_ - n;
}

void Window::append_zeros(int64_t n) {
  if (n > 0) std::fill_n(grow(n), n, 0.0f);
}

float* Sink::grow(int64_t n) {
  if (window_) return window_->grow(n);
  if (written_ + n > room_) throw std::logic_error("more samples than the recording has");
  written_ += n;
  return out_ + written_ - n;
}

static int64_t floor_half(int64_t n) { return n >= 0 ? n / 2 : -((1 - n) / 2); }

HalfBandStage::HalfBandStage(const Kernels& kernels, int count, int64_t first, bool last)
    : kernels_(kernels),
      count_(count),
      last_(last),
      first_output_(last ? 0 : floor_half(first - (2 * count - 1) + 1)),
      next_(first_output_),
      window_(std::min<int64_t>(2 * first_output_ - (2 * count - 1), first)) {
  window_.append_zeros(first - (2 * first_output_ - (2 * count - 1)));
}

void HalfBandStage::run(int64_t limit, Sink& out) {
  const int64_t radius = 2 * count_ - 1;
  // Up to the first output that lacks input.
  const int64_t stop = std::min(limit, floor_half(window_.end() - 1 - radius) + 1);
  if (stop <= next_) return;
  float* to = out.grow(stop - next_);
  kernels_.half_band(window_.at(2 * next_ - radius), stop - next_, count_, half_band(count_), to);
  next_ = stop;
  window_.drop_before(2 * next_ - radius);
}

void HalfBandStage::finish(int64_t total, Sink& out) {
  const int64_t radius = 2 * count_ - 1;
  const int64_t limit = last_ ? total : floor_half(window_.end() - 1 + radius) + 1;
  window_.append_zeros(2 * (limit - 1) + radius + 1 - window_.end());
  run(limit, out);
}

PolyphaseStage::PolyphaseStage(const Kernels& kernels, Filter filter, int64_t first)
    : kernels_(kernels), filter_(std::move(filter)), window_(std::min<int64_t>(first, -filter_.lead)) {
  window_.append_zeros(first + filter_.lead);
  if (!filter_.interpolated) arrange();
}

void PolyphaseStage::arrange() {
  const int64_t phases = filter_.phases, step = filter_.step;
  int width = 8;
  if (std::lcm<int64_t>(phases, 8) > 64)
    for (int w : {7, 6, 5})
      if (std::lcm<int64_t>(phases, w) < std::lcm<int64_t>(phases, width)) width = w;
  const int64_t outputs = std::lcm<int64_t>(phases, width);  // a period of groups
  groups_.width = width;
  groups_.count = static_cast<int>(outputs / width);
  groups_.period_in = outputs / phases * step;
  groups_.taps = filter_.taps + static_cast<int>(((width - 1) * step + phases - 1) / phases);
  const int64_t periods = std::max<int64_t>(1, 512 / groups_.period_in);
  groups_.segment_in = periods * groups_.period_in;
  groups_.segment_out = periods * outputs;
  grouped_.assign(static_cast<size_t>(groups_.count) * groups_.taps * width, 0.0f);
  for (int64_t g = 0; g < groups_.count; ++g) {
    const int64_t base = g * width * step / phases;
    start_.push_back(base);
    float* to = grouped_.data() + g * groups_.taps * width;
    for (int r = 0; r < width; ++r) {
      const int64_t at = (g * width + r) * step;
      const float* row = filter_.weights.data() + at % phases * filter_.taps;
      const int64_t shift = at / phases - base;
      for (int t = 0; t < filter_.taps; ++t) to[(t + shift) * width + r] = row[t];
    }
  }
  groups_.start = start_.data();
  groups_.weights = grouped_.data();
  scratch_.resize(polyphase_scratch(groups_, kernels_.lanes) + 16);
  filter_.weights = {};
}

void PolyphaseStage::run_groups(int64_t limit, Sink& out) {
  const int64_t outputs = groups_.segment_out * kernels_.lanes, inputs = groups_.segment_in * kernels_.lanes;
  const size_t address = reinterpret_cast<size_t>(scratch_.data());
  float* scratch = scratch_.data() + (64 - address % 64) % 64 / sizeof(float);
  while (next_ < limit) {
    const int64_t from = next_ / filter_.phases * filter_.step - filter_.lead;
    if (window_.end() < from + inputs + groups_.taps) return;
    const int64_t n = std::min(outputs, limit - next_);
    kernels_.polyphase(groups_, window_.at(from), n, scratch, out.grow(n));
    next_ += n;
    window_.drop_before(from + inputs);
  }
}

void PolyphaseStage::run_interpolated(int64_t limit, Sink& out) {
  for (; next_ < limit; ++next_) {
    const int64_t at = next_ * filter_.step, base = at / filter_.phases;
    if (window_.end() < base - filter_.lead + filter_.taps) break;
    const double where = double(at % filter_.phases) / filter_.phases * filter_.rows;
    const int64_t row = static_cast<int64_t>(where);
    const double u = where - row;
    // Lagrange's cubic through the rows before, at, after and two after the wanted fraction.
    const float blend[4] = {static_cast<float>(-u * (u - 1.0) * (u - 2.0) / 6.0),
                            static_cast<float>((u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0),
                            static_cast<float>(-(u + 1.0) * u * (u - 2.0) / 2.0),
                            static_cast<float>((u + 1.0) * u * (u - 1.0) / 6.0)};
    *out.grow(1) = kernels_.interpolate(window_.at(base - filter_.lead), filter_.weights.data() + row * filter_.taps,
                                        filter_.taps, blend);
  }
  window_.drop_before(next_ * filter_.step / filter_.phases - filter_.lead);
}

void PolyphaseStage::run(int64_t limit, Sink& out) {
  filter_.interpolated ? run_interpolated(limit, out) : run_groups(limit, out);
}

void PolyphaseStage::finish(int64_t total, Sink& out) {
  const int64_t per_block = filter_.interpolated ? filter_.phases : groups_.segment_out * kernels_.lanes;
  const int64_t blocks = (total - next_ + per_block - 1) / per_block + 1;
  const int64_t taps = filter_.interpolated ? filter_.taps : groups_.taps;
  const int64_t last =
      next_ / filter_.phases * filter_.step + blocks * (per_block / filter_.phases) * filter_.step + taps;
  if (total > next_) window_.append_zeros(last - window_.end());
  run(total, out);
}

}  // namespace chordfast::ingest
