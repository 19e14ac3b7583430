// Counting, cutting into blocks of rows, and the sums over blocks, which are the same whatever the number of threads;
// the double version of the rows, which exists to check gradients with.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"
#include "kd_loss/kd_loss.h"
#include "kd_loss/kd_loss_kernels.h"

namespace {

constexpr int64_t kBlock = 64;  // rows whose sums are added up before they meet those of other blocks

const chordfast::KdLossKernels& kernels() {
#if defined(__x86_64__)
  if (chordfast::simd_level() == chordfast::Simd::avx512) return chordfast::kd_loss_kernels_avx512();
  if (chordfast::simd_level() == chordfast::Simd::avx2) return chordfast::kd_loss_kernels_avx2();
#endif
  return chordfast::kd_loss_kernels_plain();
}

struct Sums {
  double kd = 0, hard = 0, dropped = 0, damped = 0;
};

// Which parts there are, and alpha as it counts: 0 without teacher, 1 without target.
bool has_kd(const cf_kd_loss_params& p) { return p.teacher && (!p.target || p.alpha != 0); }
bool has_hard(const cf_kd_loss_params& p) { return p.target && (!p.teacher || p.alpha != 1); }
double share(const cf_kd_loss_params& p) { return !p.teacher ? 0.0 : !p.target ? 1.0 : p.alpha; }

bool counts(const cf_kd_loss_params& p, int64_t row) {
  return (!p.mask || p.mask[row]) && !(p.target && p.has_ignore && p.target[row] == p.ignore_index);
}

size_t element_bytes(int dtype) { return dtype == CF_KD_FLOAT64 ? 8 : dtype == CF_KD_FLOAT32 ? 4 : 2; }

void clear_gradient(const cf_kd_loss_params& p, int64_t row) {
  const size_t bytes = static_cast<size_t>(p.classes) * element_bytes(p.dtype);
  if (p.gradient) std::memset(static_cast<char*>(p.gradient) + static_cast<size_t>(row) * bytes, 0, bytes);
}

// One row in double, step by step as in the documentation.
void row_in_double(const cf_kd_loss_params& p, int64_t row, double kd_scale, double hard_scale, Sums* sums,
                   std::vector<double>& scratch) {
  const int64_t n = p.classes;
  const double* z = static_cast<const double*>(p.student) + row * n;
  double* g = p.gradient ? static_cast<double*>(p.gradient) + row * n : nullptr;
  if (g) std::fill_n(g, n, 0.0);
  auto largest = [n](const double* x) { return *std::max_element(x, x + n); };
  const double max_z = largest(z);
  if (has_kd(p)) {
    const double* u = static_cast<const double*>(p.teacher) + row * n;
    const double max_u = largest(u), rate = 1.0 / p.temperature;
    double soft = 0, teach = 0, cross = 0;
    scratch.resize(2 * static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) {
      const double dz = z[j] - max_z, du = u[j] - max_u, ez = std::exp(dz * rate), eu = std::exp(du * rate);
      scratch[2 * j] = ez, scratch[2 * j + 1] = eu;
      soft += ez;
      teach += eu;
      if (eu > 0) cross += eu * (du - dz);
    }
    const double divergence = cross * rate / teach + std::log(soft) - std::log(teach), confidence = 1.0 / teach;
    double w = 1;
    if (p.selective) {
      if (confidence > p.high) {
        w = 1 - chordfast::kd_loss_weight_slope(p.high) * (confidence - p.high);
        sums->damped += 1;
      }
      if (confidence < p.low) {
        w = 0;
        sums->dropped += 1;
      }
    }
    sums->kd += w > 0 || std::isnan(divergence) ? p.temperature * p.temperature * w * divergence : 0.0;
    if (g)
      for (int64_t j = 0; j < n; ++j) g[j] = kd_scale * w * (scratch[2 * j] / soft - scratch[2 * j + 1] / teach);
  }
  if (!has_hard(p)) return;
  const int64_t y = p.target[row];
  double others = 0;
  for (int64_t j = 0; j < n; ++j)
    if (j != y) others += std::exp(z[j] - max_z);
  const double own = std::exp(z[y] - max_z), sum = own + others, probability = own / sum, q = others / sum;
  const double minus_log = own >= 0.5 ? std::log1p(others / own) : std::log(sum) - (z[y] - max_z);
  const double o = p.class_weights ? static_cast<const double*>(p.class_weights)[y] : 1.0;
  double modulation = 1, slope = -1;
  if (p.gamma > 0) {
    const double p_log_p = probability > 0 ? probability * minus_log : probability;
    modulation = q == 0 ? 0 : std::pow(q, p.gamma);
    slope = q == 0 ? 0 : -p.gamma * p_log_p * std::pow(q, p.gamma - 1) - modulation;
  }
  sums->hard += modulation == 0 ? 0 : o * modulation * minus_log;
  const double b = hard_scale * o * slope;
  if (!g) return;
  for (int64_t j = 0; j < n; ++j)
    if (j != y) g[j] -= b * std::exp(z[j] - max_z) / sum;
  g[y] += b * q;
}

cf_status forward(const cf_kd_loss_params& p, int threads) {
  CF_CHECK(p.loss && p.stats && p.valid && (p.rows == 0 || (p.student && (p.teacher || p.target))),
           "kd_loss: a pointer is missing");
  CF_CHECK(p.rows >= 0 && p.classes >= 1 && p.classes < std::numeric_limits<int>::max() && threads >= 1,
           "kd_loss: %lld rows of %lld classes on %d threads", static_cast<long long>(p.rows),
           static_cast<long long>(p.classes), threads);
  CF_CHECK(p.dtype >= CF_KD_FLOAT32 && p.dtype <= CF_KD_FLOAT64, "kd_loss: unknown dtype %d", p.dtype);
  CF_CHECK(p.temperature > 0 && p.gamma >= 0, "kd_loss: temperature %g, gamma %g", p.temperature, p.gamma);
  int64_t valid = 0;
  for (int64_t i = 0; i < p.rows; ++i) {
    if (!counts(p, i)) continue;
    ++valid;
    CF_CHECK(!has_hard(p) || (p.target[i] >= 0 && p.target[i] < p.classes),
             "kd_loss: target %lld of row %lld is no class", static_cast<long long>(p.target[i]),
             static_cast<long long>(i));
  }
  *p.valid = valid;
  const bool late = p.dtype == CF_KD_FLOAT16;  // divided in the backward pass
  const double part = share(p), unit = valid && !late ? 1.0 / static_cast<double>(valid) : 1.0;
  const double kd_scale = part * p.temperature * unit, hard_scale = (1 - part) * unit;

  const int64_t blocks = (p.rows + kBlock - 1) / kBlock;
  std::vector<Sums> partial(blocks);
  chordfast::KdLossBatch job{};
  job.student = p.student, job.gradient = p.gradient;
  job.teacher = has_kd(p) ? p.teacher : nullptr, job.target = has_hard(p) ? p.target : nullptr;
  job.class_weights = static_cast<const float*>(p.class_weights);
  job.classes = p.classes, job.padded = (p.classes + 15) / 16 * 16;
  job.temperature = static_cast<float>(p.temperature), job.gamma = static_cast<float>(p.gamma);
  job.low = static_cast<float>(p.low), job.high = static_cast<float>(p.high);
  const double slope = chordfast::kd_loss_weight_slope(p.high);
  job.weight_slope = static_cast<float>(slope), job.weight_at_1 = static_cast<float>(1 - slope * (1 - p.high));
  job.kd_scale = static_cast<float>(kd_scale), job.hard_scale = static_cast<float>(hard_scale);
  job.selective = p.selective, job.dtype = p.dtype;
  job.power = p.temperature <= 4 && p.temperature == std::floor(p.temperature) ? static_cast<int>(p.temperature) : 0;

  const auto& level = kernels();
  const int64_t pieces = std::min<int64_t>(blocks, 4LL * threads);
  chordfast::parallel_for(pieces, threads, [&](int64_t piece) {
    std::vector<double> wide;
    std::vector<float> scratch;
    if (p.dtype != CF_KD_FLOAT64) scratch.resize(chordfast::kd_loss_scratch(job.padded));
    for (int64_t block = blocks * piece / pieces; block < blocks * (piece + 1) / pieces; ++block) {
      Sums& sums = partial[block];
      int64_t rows[chordfast::kKdBatch];
      int waiting = 0;
      auto flush = [&] {
        chordfast::KdLossSums added;
        if (waiting) level.batch(job, rows, waiting, scratch.data(), &added);
        if (waiting)
          sums.kd += added.kd, sums.hard += added.hard, sums.dropped += added.dropped, sums.damped += added.damped;
        waiting = 0;
      };
      for (int64_t i = block * kBlock; i < std::min(p.rows, (block + 1) * kBlock); ++i) {
        if (!counts(p, i)) {
          clear_gradient(p, i);
        } else if (p.dtype == CF_KD_FLOAT64) {
          row_in_double(p, i, kd_scale, hard_scale, &sums, wide);
        } else {
          rows[waiting++] = i;
          if (waiting == chordfast::kKdBatch) flush();
        }
      }
      flush();
    }
  });

  Sums total;
  for (const Sums& s : partial)
    total.kd += s.kd, total.hard += s.hard, total.dropped += s.dropped, total.damped += s.damped;
  const double count = valid ? static_cast<double>(valid) : 1.0;
  const double kd = total.kd / count, hard = total.hard / count, mixed = part * kd + (1 - part) * hard;
  const bool cut = has_kd(p) && has_hard(p) && mixed < 0;
  const double loss = cut ? 0.0 : !has_kd(p) ? hard : !has_hard(p) ? kd : mixed;
  const double stats[CF_KD_STATS] = {kd, hard, total.dropped / count, total.damped / count,
                                     cut    ? 0.0
                                     : late ? 1.0 / count
                                            : 1.0};
  for (int i = 0; i < CF_KD_STATS; ++i) {
    if (p.dtype == CF_KD_FLOAT64)
      static_cast<double*>(p.stats)[i] = stats[i];
    else
      static_cast<float*>(p.stats)[i] = static_cast<float>(stats[i]);
  }
  if (p.dtype == CF_KD_FLOAT64)
    *static_cast<double*>(p.loss) = loss;
  else
    *static_cast<float*>(p.loss) = static_cast<float>(loss);
  return CF_OK;
}

}  // namespace

extern "C" cf_status cf_kd_loss_fwd_cpu(const cf_kd_loss_params* params, int threads) {
  return CF_GUARD([&] { return forward(*params, threads); });
}

extern "C" cf_status cf_kd_loss_bwd_cpu(const void* gradient, const void* grad_output, const void* stats, void* out,
                                        int64_t n, int dtype, int threads) {
  return CF_GUARD([&] {
    CF_CHECK(n >= 0 && threads >= 1 && dtype >= CF_KD_FLOAT32 && dtype <= CF_KD_FLOAT64, "kd_loss: bad size or dtype");
    const bool wide = dtype == CF_KD_FLOAT64;
    const double factor =
        wide ? *static_cast<const double*>(grad_output) * static_cast<const double*>(stats)[CF_KD_FACTOR]
             : *static_cast<const float*>(grad_output) * static_cast<const float*>(stats)[CF_KD_FACTOR];
    if (factor == 1.0 && gradient == out) return CF_OK;
    constexpr int64_t kPiece = 1 << 16;
    const auto& level = kernels();
    chordfast::parallel_for((n + kPiece - 1) / kPiece, threads, [&](int64_t piece) {
      const int64_t first = piece * kPiece, count = std::min(kPiece, n - first);
      if (wide) {
        const double* from = static_cast<const double*>(gradient) + first;
        double* to = static_cast<double*>(out) + first;
        for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor;
        return;
      }
      const size_t offset = static_cast<size_t>(first) * element_bytes(dtype);
      level.scale(static_cast<const char*>(gradient) + offset, static_cast<char*>(out) + offset, count,
                  static_cast<float>(factor), dtype);
    });
    return CF_OK;
  });
}
