// Coefficients. The exact response was found by fitting impulse responses of soxr's HQ recipe: a steep Kaiser-windowed
// sinc that ends at the lower Nyquist frequency, and, unless the ratio is a power of two, a gentle one that removes
// the images of an intermediate rate. chordfast/reference/ingest.py states the same formulas in NumPy.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ingest/ingest_design.h"

namespace chordfast::ingest {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kSteepCutoff = 0.956872;  // in lower Nyquist frequencies, -6 dB
constexpr double kGentleBeta = 14.06;
constexpr double kRelaxedPass = 0.254;  // of the target rate
constexpr double kRelaxedStopDb = 126.0;
constexpr int kInterpolatedRows = 128;
constexpr int64_t kMaxTable = 1 << 20;  // weights; more phases than fit are interpolated

double bessel_i0(double x) {
  double sum = 1.0, term = 1.0;
  const double q = x * x / 4.0;
  for (int k = 1; term > sum * 1e-17; ++k) sum += term *= q / (double(k) * k);
  return sum;
}

struct KaiserSinc {
  double cutoff, half, beta;
  double operator()(double tau) const {
    const double inside = 1.0 - (tau / half) * (tau / half);
    if (inside < 0.0) return 0.0;
    const double x = kPi * cutoff * tau;
    const double sinc = std::fabs(x) < 1e-9 ? 1.0 : std::sin(x) / x;
    return cutoff * sinc * bessel_i0(beta * std::sqrt(inside)) / bessel_i0(beta);
  }
};

struct Gentle {
  double rate;  // working rate, in lower Nyquist frequencies
  int taps;
  KaiserSinc shape;
};

Gentle gentle(double ratio) {
  if (ratio < 1.0) return {4.0, 15, {1.8177, 3.75, kGentleBeta}};
  double rate = 2.0 * ratio;
  while (rate < 4.0) rate *= 2.0;
  while (rate >= 8.0) rate /= 2.0;
  const bool narrow = ratio >= 1.5 && ratio < 2.0;
  const int taps = 2 * static_cast<int>(std::ceil(7.77 * rate / (narrow ? 2.077 : rate - 1.923) / 2.0));
  double cutoff = narrow ? 1.8066 : 1.8177 + 0.4267 * (rate - 4.0);
  if (!narrow && taps == 14) cutoff += 0.0005;
  if (!narrow && taps == 12) cutoff += 0.0022;
  return {rate, taps, {cutoff, taps / rate, kGentleBeta}};
}

KaiserSinc steep(double ratio, bool power_of_two) {
  const auto shape = [](double half, double beta) { return KaiserSinc{kSteepCutoff, half, beta}; };
  if (power_of_two && (ratio == 0.5 || ratio == 2.0)) return shape(97.249, 13.040);
  if (power_of_two && ratio == 4.0) return shape(102.250, 13.711);
  if (power_of_two && ratio == 8.0) return shape(105.248, 14.104);
  if (ratio < 1.0) return shape(102.240, 13.707);
  const int taps = gentle(ratio).taps;
  if (ratio < 4.0) {
    if (taps == 12) return shape(101.386, 13.689);
    if (taps == 14) return shape(102.151, 13.695);
    return shape(102.250, 13.712);
  }
  if (ratio < 8.0) {
    if (taps == 12) return shape(106.420, 14.373);
    if (taps == 14) return shape(106.737, 14.364);
    return shape(107.330, 14.379);
  }
  return shape(109.490, 14.757);
}

// Samples the exact filter at multiples 0..count of `step` (in samples of the lower rate).
std::vector<double> sample_exact(double ratio, double step, int64_t count) {
  const bool power_of_two = std::log2(ratio) == std::floor(std::log2(ratio));
  const KaiserSinc sharp = steep(ratio, power_of_two);
  std::vector<double> out(count + 1, 0.0);
  if (power_of_two) {
    for (int64_t k = 0; k <= count; ++k) out[k] = sharp(k * step);
    return out;
  }
  // Both factors are band-limited: their convolution is a plain sum at any rate from the working rate upwards.
  const Gentle soft = gentle(ratio);
  const int64_t stride = std::max<int64_t>(1, static_cast<int64_t>(2.0 / (soft.rate * step) + 1e-9));
  const int64_t reach = static_cast<int64_t>(soft.shape.half / step);
  std::vector<double> shape(2 * reach + 1), sharp_at(count + reach + 1, 0.0);
  for (int64_t k = -reach; k <= reach; ++k) shape[k + reach] = soft.shape(k * step);
  for (int64_t k = 0; k <= count + reach; k += stride) sharp_at[k] = sharp(k * step);
  for (int64_t k = 0; k <= count; ++k) {
    const int64_t first = (k - reach >= 0 ? (k - reach + stride - 1) / stride : -((reach - k) / stride)) * stride;
    double sum = 0.0;
    for (int64_t n = first; n <= k + reach; n += stride) sum += sharp_at[std::llabs(n)] * shape[k - n + reach];
    out[k] = sum * stride * step;
  }
  return out;
}

double exact_half(double ratio) {
  const bool power_of_two = std::log2(ratio) == std::floor(std::log2(ratio));
  return steep(ratio, power_of_two).half + (power_of_two ? 0.0 : gentle(ratio).shape.half);
}

// `half` in input samples; sample(rows, count) = the kernel at 0, 1/rows .. count/rows input samples from its centre.
template <class Sample>
Filter tabulate(int64_t step, int64_t phases, double half, Sample&& sample) {
  Filter filter;
  const int64_t lead = static_cast<int64_t>(std::ceil(half)) + 1;
  const bool interpolated = phases * 2 * lead > kMaxTable;
  const int64_t rows = interpolated ? kInterpolatedRows : phases;
  const std::vector<double> samples = sample(rows, static_cast<int64_t>(std::ceil(half * rows)));
  filter.step = step;
  filter.phases = phases;
  filter.rows = static_cast<int>(rows);
  filter.interpolated = interpolated;
  filter.lead = static_cast<int>(lead);
  filter.taps = 2 * filter.lead;
  double sum = 0.0;
  for (size_t k = 0; k < samples.size(); ++k) sum += k ? 2.0 * samples[k] : samples[k];
  const double gain = rows / sum;  // unit gain at DC, as the mean over the phases
  const int64_t first = interpolated ? -1 : 0, last = interpolated ? rows + 2 : rows;
  filter.weights.resize((last - first) * filter.taps);
  float* w = filter.weights.data();
  for (int64_t row = first; row < last; ++row)
    for (int64_t t = 0; t < filter.taps; ++t) {
      const int64_t k = std::llabs(row - (t - lead) * rows);
      *w++ = k < static_cast<int64_t>(samples.size()) ? static_cast<float>(samples[k] * gain) : 0.0f;
    }
  return filter;
}

// `ratio` chooses the response; the fraction may be smaller after half-band stages.
Filter exact_filter(int64_t step, int64_t phases, double ratio) {
  const double scale = std::max(1.0, double(step) / phases);  // input samples per sample of the lower rate
  return tabulate(step, phases, exact_half(ratio) * scale,
                  [&](int64_t rows, int64_t count) { return sample_exact(ratio, 1.0 / (rows * scale), count); });
}

Filter relaxed_filter(int64_t step, int64_t phases) {
  const double scale = double(step) / phases;  // input samples per output sample
  const double half = (kRelaxedStopDb - 8.0) / (2.285 * 2.0 * kPi * (1.0 - 2.0 * kRelaxedPass)) / 2.0;
  const KaiserSinc shape{1.0, half, 0.1102 * (kRelaxedStopDb - 8.7)};
  return tabulate(step, phases, half * scale, [&](int64_t rows, int64_t count) {
    std::vector<double> out(count + 1);
    for (int64_t k = 0; k <= count; ++k) out[k] = shape(k / (rows * scale));
    return out;
  });
}

// Equiripple designs for a pass band up to 0.03175, 0.0635 and 0.127 of the input rate: -130, -151 and -134 dB.
constexpr float kHalfBand3[] = {0.29355011480109244f, -0.04970887519425569f, 0.006158917301833766f};
constexpr float kHalfBand5[] = {0.304134080597945f, -0.0699906489738105f, 0.019310161195821195f,
                                -0.0038367749508509946f, 0.00038319617989254675f};
constexpr float kHalfBand8[] = {0.3116391981895684f,     -0.08758014703261088f,  0.03709321766716653f,
                                -0.015418921194509574f,  0.005594115074978017f,  -0.0016265853618733098f,
                                0.00033671079216246105f, -3.768726623442011e-05f};

}  // namespace

const float* half_band(int count) { return count == 3 ? kHalfBand3 : count == 5 ? kHalfBand5 : kHalfBand8; }

Design design(int64_t rate, int64_t target, bool exact) {
  Design plan;
  int64_t divisor = std::gcd(rate, target);
  int64_t step = rate / divisor, phases = target / divisor;
  const double ratio = double(rate) / target;
  if (step == phases) return plan;
  const auto halve = [&](int count) {
    plan.half_bands.push_back(count);
    step % 2 ? phases *= 2 : step /= 2;
  };
  // Below twice the relaxed pass band the input's own images fall into it: only the exact filter removes them.
  if (exact || rate < 2.0 * 0.2545 * target) {
    // The last 4 : 1 or less is the exact filter's; above that a wide half-band changes nothing it lets through.
    while (step >= 4 * phases) halve(8);
    plan.filter = exact_filter(step, phases, ratio);
    plan.polyphase = true;
    return plan;
  }
  while (step >= 4 * phases) halve(step >= 8 * phases ? 3 : 5);
  if (step == 2 * phases) {
    halve(8);
  } else {
    plan.filter = relaxed_filter(step, phases);
    plan.polyphase = true;
  }
  return plan;
}

}  // namespace chordfast::ingest
