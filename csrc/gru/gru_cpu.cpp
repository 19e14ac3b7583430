// Songs in groups of similar length walk together through blocks of steps: first the input products of a block, which
// are one matrix product, then the recurrence step by step.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"
#include "gru/gru.h"
#include "gru/gru_kernels.h"

namespace chordfast {
namespace {

constexpr int kSteps = 32;  // steps whose input products are held at once

const GruKernels& kernels() {
#if defined(__x86_64__)
  if (simd_level() == Simd::avx512) return gru_kernels_avx512();
  if (simd_level() == Simd::avx2) return gru_kernels_avx2();
#endif
  return gru_kernels_plain();
}

// [rows, 3*hidden] -> panels of 64 columns, each gate padded with zeros to whole panels: [3*width/64][rows][64].
std::vector<float> panels(const float* matrix, int rows, int hidden, int width) {
  std::vector<float> packed(static_cast<size_t>(rows) * 3 * width, 0.0f);
  for (int gate = 0; gate < 3; ++gate)
    for (int column = 0; column < hidden; ++column) {
      const int at = gate * width + column;
      for (int row = 0; row < rows; ++row)
        packed[(static_cast<size_t>(at / kPanel) * rows + row) * kPanel + at % kPanel] =
            matrix[static_cast<size_t>(row) * 3 * hidden + gate * hidden + column];
    }
  return packed;
}

struct Layer {
  std::vector<float> kernel, recurrent, bias;  // of one direction, packed
};

// Up to kGroup songs, longest first, in one direction.
class Group {
 public:
  Group(const cf_gru_params& p, const Layer& layer, int direction, int width, const int64_t* songs, int count,
        const int64_t* begins)
      : p_(p), layer_(layer), direction_(direction), width_(width), count_(count), k_(kernels()) {
    for (int g = 0; g < count; ++g) {
      length_[g] = p.lengths[songs[g]];
      begin_[g] = begins[songs[g]];
    }
    state_.assign(static_cast<size_t>(count) * width, 0.0f);
    reset_.assign(static_cast<size_t>(count) * width, 0.0f);
    sums_.resize(static_cast<size_t>(count) * kSteps * 3 * width);
  }

  void run() {
    for (int64_t first = 0; first < length_[0]; first += kSteps) {
      project(first);
      for (int64_t t = first; t < std::min<int64_t>(first + kSteps, length_[0]); ++t)
        step(t, static_cast<int>(t - first));
    }
  }

 private:
  int64_t frame(int g, int64_t t) const { return begin_[g] + (direction_ ? length_[g] - 1 - t : t); }
  float* sums(int g, int s) { return sums_.data() + (static_cast<size_t>(g) * kSteps + s) * 3 * width_; }

  void multiply(const float* const* rows, int depth, const std::vector<float>& weights, int first, int last,
                float* const* out, int count) {
    float* target[kGroup];
    for (int panel = first; panel < last; ++panel) {
      for (int i = 0; i < count; ++i) target[i] = out[i] + panel * kPanel;
      k_.multiply(rows, depth, weights.data() + static_cast<size_t>(panel) * depth * kPanel, target, count);
    }
  }

  // x K + b of the block's frames, six rows at a time.
  void project(int64_t first) {
    const float* rows[kGroup * kSteps];
    float* out[kGroup * kSteps];
    int n = 0;
    for (int g = 0; g < count_; ++g)
      for (int64_t t = first; t < std::min<int64_t>(first + kSteps, length_[g]); ++t, ++n) {
        rows[n] = p_.x + frame(g, t) * p_.input;
        out[n] = sums(g, static_cast<int>(t - first));
        std::memcpy(out[n], layer_.bias.data(), 3 * width_ * sizeof(float));
      }
    // Panel by panel, so that a panel is read from memory once for the whole block.
    for (int panel = 0; panel < 3 * width_ / kPanel; ++panel)
      for (int i = 0; i < n; i += kGroup)
        multiply(rows + i, p_.input, layer_.kernel, panel, panel + 1, out + i, std::min<int>(kGroup, n - i));
  }

  void step(int64_t t, int s) {
    int running = count_;
    while (running > 0 && length_[running - 1] <= t) --running;
    const float* state[kGroup];
    const float* reset[kGroup];
    float* out[kGroup];
    for (int g = 0; g < running; ++g) {
      state[g] = state_.data() + g * width_;
      reset[g] = reset_.data() + g * width_;
      out[g] = sums(g, s);
    }
    const int third = width_ / kPanel;
    multiply(state, p_.hidden, layer_.recurrent, 0, 2 * third, out, running);
    for (int g = 0; g < running; ++g) k_.gates(out[g], out[g] + width_, state[g], reset_.data() + g * width_, width_);
    multiply(reset, p_.hidden, layer_.recurrent, 2 * third, 3 * third, out, running);
    for (int g = 0; g < running; ++g) {
      float* now = state_.data() + g * width_;
      k_.update(out[g], out[g] + 2 * width_, now, width_);
      std::memcpy(p_.out + (frame(g, t) * p_.directions + direction_) * p_.hidden, now, p_.hidden * sizeof(float));
    }
  }

  const cf_gru_params& p_;
  const Layer& layer_;
  const int direction_, width_, count_;
  const GruKernels& k_;
  int64_t length_[kGroup], begin_[kGroup];
  std::vector<float> state_, reset_, sums_;
};

}  // namespace
}  // namespace chordfast

extern "C" cf_status cf_gru_fwd_cpu(const cf_gru_params* p, int threads) {
  using namespace chordfast;
  return CF_GUARD([&] {
    CF_CHECK(p->input >= 1 && p->hidden >= 1 && (p->directions == 1 || p->directions == 2) && threads >= 1,
             "gru: input %d, hidden %d, directions %d or threads %d out of range", p->input, p->hidden, p->directions,
             threads);
    std::vector<int64_t> begins(p->songs), order(p->songs);
    int64_t total = 0;
    for (int64_t i = 0; i < p->songs; ++i) {
      CF_CHECK(p->lengths[i] >= 0, "gru: song %lld has a negative length", static_cast<long long>(i));
      begins[i] = total;
      total += p->lengths[i];
    }
    CF_CHECK(total == p->frames, "gru: lengths add up to %lld frames, there are %lld", static_cast<long long>(total),
             static_cast<long long>(p->frames));
    // Longest first: songs of similar length share a group, and the first to end is the last of its group.
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return p->lengths[a] > p->lengths[b]; });
    while (!order.empty() && p->lengths[order.back()] == 0) order.pop_back();

    const int width = (p->hidden + kPanel - 1) / kPanel * kPanel;
    std::vector<Layer> layers(p->directions);
    for (int d = 0; d < p->directions; ++d) {
      layers[d].kernel =
          panels(p->kernel + static_cast<size_t>(d) * p->input * 3 * p->hidden, p->input, p->hidden, width);
      layers[d].recurrent =
          panels(p->recurrent + static_cast<size_t>(d) * p->hidden * 3 * p->hidden, p->hidden, p->hidden, width);
      layers[d].bias.assign(3 * width, 0.0f);
      for (int gate = 0; gate < 3; ++gate)
        std::copy_n(p->bias + (3 * d + gate) * p->hidden, p->hidden, &layers[d].bias[gate * width]);
    }
    const int64_t groups = (static_cast<int64_t>(order.size()) + kGroup - 1) / kGroup;
    parallel_for(groups * p->directions, threads, [&](int64_t piece) {
      const int64_t group = piece / p->directions;
      const int direction = static_cast<int>(piece % p->directions);
      const int count = static_cast<int>(std::min<int64_t>(kGroup, order.size() - group * kGroup));
      Group(*p, layers[direction], direction, width, &order[group * kGroup], count, begins.data()).run();
    });
    return CF_OK;
  });
}
