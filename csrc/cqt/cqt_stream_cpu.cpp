#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "cqt/cqt_stream.h"

namespace chordfast {

namespace {
constexpr int64_t kSlack = 96;      // kernels may read (never use) so many floats beyond what they need
constexpr int kHalfBandReach = 17;  // the half-band filter's
constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();

int64_t shifted(int64_t n, int level) { return (n + (int64_t{1} << level) - 1) >> level; }  // ceil(n / 2^level)
}  // namespace

void Level::start(int64_t position, int64_t zeros) {
  data_.assign(zeros + kSlack, 0.0f);
  begin_ = position - zeros;
  end_ = position;
}

float* Level::extend(int64_t n) {
  const int64_t used = end_ - begin_;
  if (used + n + kSlack > static_cast<int64_t>(data_.size())) data_.resize(used + n + kSlack, 0.0f);
  end_ += n;
  return data_.data() + used;
}

void Level::extend_zeros(int64_t n) { std::fill_n(extend(n), n, 0.0f); }

void Level::forget(int64_t position) {
  if (position - begin_ < (end_ - begin_) / 2) return;  // moving little often would cost more than it frees
  std::memmove(data_.data(), at(position), (end_ - position) * sizeof(float));
  begin_ = position;
}

int64_t CqtStream::start_sample(const cf_cqt_plan& plan, int64_t first_frame) {
  // Far enough back that the lowest octave's first window is right, on a multiple of the hop so that all levels align.
  const int64_t reach = (plan.behind() + 64) << (plan.levels() - 1);
  const int64_t frames_back = (reach + plan.hop - 1) / plan.hop;
  return std::max<int64_t>(0, first_frame - frames_back) * plan.hop;
}

CqtStream::CqtStream(const cf_cqt_plan& plan, int64_t first_frame)
    : plan_(plan),
      first_(first_frame),
      limit_(kEndless),
      begin_sample_(start_sample(plan, first_frame)),
      levels_(std::max(1, plan.levels() - 1)),
      next_(plan.n_octaves, first_frame),
      start_cut_(plan.levels()),
      end_cut_(plan.levels()),
      taken_(first_frame),
      sums_(kTile * plan.lanes + kSlack),
      scratch_(kTile * 2 * kBlock + kSlack) {
  // Level l begins a little before its share of begin_sample_, where the half-band filter's response to it begins.
  const int64_t lead = plan.behind() + kSlack;
  levels_[0].start(begin_sample_, lead);
  for (size_t l = 1; l < levels_.size(); ++l) levels_[l].start((begin_sample_ >> l) - kHalfBandReach, lead);
}

void CqtStream::write_to(float* out, int64_t end_frame) {
  out_ = out;
  limit_ = end_frame;
}

float* CqtStream::row(int64_t frame) {
  if (out_) return out_ + (frame - first_) * plan_.n_bins;
  const size_t needed = (frame - taken_ + 1) * plan_.n_bins;
  if (rows_.size() < needed) rows_.resize(needed);
  return rows_.data() + (frame - taken_) * plan_.n_bins;
}

void CqtStream::push(const float* x, int64_t n) {
  if (finished_) throw std::logic_error("cqt: samples pushed after finish");
  const int64_t chunk =
      int64_t{kTile} * plan_.hop;  // one tile of frames per octave, and little enough to stay in cache
  while (n > 0 && !done()) {
    const int64_t part = std::min(n, chunk);
    std::memcpy(levels_[0].extend(part), x, part * sizeof(float));
    x += part;
    n -= part;
    upcoming_ = x;
    upcoming_end_ = x + std::min(n, chunk);
    grow_levels();
    emit(false);
    compact();
  }
  upcoming_ = upcoming_end_ = nullptr;
}

// The next chunk comes from memory while the arithmetic of this one runs: a share of it with every tile.
void CqtStream::prefetch() {
  constexpr int64_t kLine = 64 / sizeof(float);
  const int64_t share = int64_t{kTile} * plan_.hop / plan_.n_octaves;
  for (int64_t i = 0; i < share && upcoming_ < upcoming_end_; i += kLine, upcoming_ += kLine)
    __builtin_prefetch(upcoming_, 0, 2);
}

void CqtStream::finish() {
  if (finished_) return;
  finished_ = true;
  total_ = levels_[0].end();
  // Beyond the signal's end every level rings out and is then exactly zero.
  for (auto& level : levels_) {
    level.extend_zeros(4 * kHalfBandReach);
    grow_levels();
  }
  const int64_t frames = plan_.frames(total_);
  limit_ = std::min(limit_, frames);
  if (frames == 0) return;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const int64_t last = std::max((frames - 1) * (plan_.hop >> l), shifted(total_, static_cast<int>(l)));
    levels_[l].extend_zeros(std::max<int64_t>(0, last + plan_.ahead() - levels_[l].end()));
  }
  end_corrections();
  emit(true);
}

void CqtStream::grow_levels() {
  for (size_t l = 1; l < levels_.size(); ++l) {
    Level& from = levels_[l - 1];
    Level& to = levels_[l];
    // Sample p needs 2p + 17 of the level above.
    const int64_t last = (from.end() - 1 - kHalfBandReach) >> 1;
    const int64_t n = last + 1 - to.end();
    if (n <= 0) continue;
    const int64_t first = to.end();
    plan_.kernels->half_band(from.at(2 * first), to.extend(n), n, plan_.half_band.data());
  }
}

void CqtStream::emit(bool last) {
  if (begin_sample_ == 0 && start_cut_.back().empty()) {
    start_corrections();
    if (start_cut_.back().empty()) return;  // not enough heard yet
  }
  for (int o = 0; o < plan_.n_octaves; ++o) {
    const int source = plan_.source(o);
    const int64_t hop = plan_.hop >> source;
    int64_t until = limit_;
    if (!last) {
      const int64_t span = levels_[source].end() - plan_.ahead();
      until = std::min(limit_, span > 0 ? (span - 1) / hop + 1 : 0);
    }
    // Whole tiles while more is to come, so that partial ones (computed in full, partly dropped) are rare.
    const int64_t wanted = until - next_[o];
    const int64_t count = last || until == limit_ ? wanted : wanted / kTile * kTile;
    for (int64_t done = 0; done < count; done += kTile)
      emit_tile(o, next_[o] + done, static_cast<int>(std::min<int64_t>(kTile, count - done)));
    if (count > 0) next_[o] += count;
  }
}

void CqtStream::emit_tile(int o, int64_t frame, int count) {
  const CqtKernels& k = *plan_.kernels;
  const int source = plan_.source(o), lanes = plan_.lanes, half = plan_.n_fft / 2;
  const bool direct = plan_.halvings + o == 0;
  const int64_t hop = plan_.hop >> source;
  Level& level = levels_[source];
  prefetch();
  std::fill(sums_.begin(), sums_.end(), 0.0f);
  // Frames beyond `count` read zeros or later samples; their results are dropped.
  const int64_t reach = (frame + kTile - 1) * hop + plan_.ahead();
  std::vector<float> padded;
  const float* centre = level.at(frame * hop);
  if (reach > level.end()) {
    const int64_t from = frame * hop - plan_.behind();
    padded.assign(reach - from + kSlack, 0.0f);
    std::memcpy(padded.data(), level.at(from), (level.end() - from) * sizeof(float));
    centre = padded.data() + plan_.behind();
  }
  k.octave(centre, hop, direct ? 0 : 1, direct ? plan_.direct.data() : plan_.composite.data(),
           direct ? plan_.direct_taps : plan_.composite_taps, lanes, sums_.data(), scratch_.data());
  const float* scale = plan_.scale.data() + o * plan_.bins;
  const int first_bin = plan_.n_bins - plan_.bins * (o + 1);
  const int skipped = std::max(0, -first_bin);  // the lowest octave may be cut
  for (int f = 0; f < count; ++f) {
    float* sums = sums_.data() + f * lanes;
    const float* x = centre + f * hop;
    float two[2];  // the octave's samples at -half and -half + 1, which have no mirror image
    if (direct) {
      two[0] = x[-half];
      two[1] = x[-half + 1];
    } else {
      k.fir(x - 2 * half, two, 2, plan_.short_decimation.data(), kShortReach, kShortPadded);
    }
    k.axpy(two, 2, plan_.octave.data(), lanes, 1.0f, sums);
    correct(o, frame + f, sums);
    float* out = row(frame + f) + std::max(first_bin, 0);
    k.magnitude(sums + 2 * skipped, scale + skipped, plan_.bins - skipped, plan_.log_output, out);
  }
}

// librosa cuts every decimated signal to [0, length); here nothing was cut. What the cut takes away is, outside, the
// uncut signal itself, and inside, the decimated image of what was taken away one level above.
void CqtStream::start_corrections() {
  const int top = plan_.levels() - 1;
  for (int l = 0; l < top; ++l)
    if (levels_[l].end() < kEdge + kFirReach + kSlack && !finished_) return;
  const CqtKernels& k = *plan_.kernels;
  const float* taps = plan_.decimation.data();
  start_cut_[0].assign(2 * kEdge, 0.0f);
  for (int l = 1; l <= top; ++l) {
    auto& cut = start_cut_[l];
    cut.assign(2 * kEdge, 0.0f);
    k.fir(levels_[l - 1].at(-2 * kEdge), cut.data(), kEdge, taps, kFirReach, kFirPadded);
    std::vector<float> above(2 * kEdge + 4 * kFirPadded, 0.0f);
    std::copy(start_cut_[l - 1].begin(), start_cut_[l - 1].end(), above.begin() + kFirPadded);
    const int64_t inside = finished_ ? std::min<int64_t>(kEdge, shifted(total_, l)) : kEdge;
    k.fir(above.data() + kFirPadded + kEdge, cut.data() + kEdge, static_cast<int>(inside), taps, kFirReach, kFirPadded);
  }
}

void CqtStream::end_corrections() {
  const CqtKernels& k = *plan_.kernels;
  const float* taps = plan_.decimation.data();
  end_cut_[0].assign(2 * kEdge, 0.0f);
  for (int l = 1; l < plan_.levels(); ++l) {
    auto& cut = end_cut_[l];
    cut.assign(2 * kEdge, 0.0f);
    const int64_t length = shifted(total_, l), length_above = shifted(total_, l - 1);
    k.fir(levels_[l - 1].at(2 * length), cut.data() + kEdge, kEdge, taps, kFirReach, kFirPadded);
    std::vector<float> above(2 * kEdge + 4 * kFirPadded, 0.0f);
    std::copy(end_cut_[l - 1].begin(), end_cut_[l - 1].end(), above.begin() + 2 * kFirPadded);
    // Position length + r of this level stands at 2(length + r) of the level above: 2r + (0 or 1) from its end.
    const int64_t inside = std::min<int64_t>(kEdge, length);
    const float* at = above.data() + 2 * kFirPadded + kEdge + (2 * length - length_above) - 2 * inside;
    k.fir(at, cut.data() + kEdge - inside, static_cast<int>(inside), taps, kFirReach, kFirPadded);
  }
}

void CqtStream::correct(int o, int64_t frame, float* sums) const {
  const int l = plan_.halvings + o;
  if (l == 0) return;
  const int half = plan_.n_fft / 2;
  const int64_t centre = frame * (plan_.hop >> l);
  auto subtract = [&](const std::vector<float>& cut, int64_t origin) {
    if (cut.empty()) return;
    // Overlap of the window [centre - half, centre + half) with [origin - kEdge, origin + kEdge).
    const int64_t from = std::max(centre - half, origin - kEdge), to = std::min(centre + half, origin + kEdge);
    if (from >= to) return;
    plan_.kernels->axpy(cut.data() + (from - origin + kEdge), static_cast<int>(to - from),
                        plan_.octave.data() + (from - centre + half) * plan_.lanes, plan_.lanes, -1.0f, sums);
  };
  if (begin_sample_ == 0) subtract(start_cut_[l], 0);
  if (finished_) subtract(end_cut_[l], shifted(total_, l));
}

void CqtStream::compact() {
  if (begin_sample_ == 0 && start_cut_.back().empty()) return;
  const int count = static_cast<int>(levels_.size());
  for (int l = 0; l < count; ++l) {
    Level& level = levels_[l];
    int64_t keep = level.end() - 2 * kEdge - kFirReach - 2 * kSlack;
    for (int o = 0; o < plan_.n_octaves; ++o)
      if (plan_.source(o) == l) keep = std::min(keep, next_[o] * (plan_.hop >> l) - plan_.behind() - kSlack);
    if (l + 1 < count) keep = std::min(keep, 2 * levels_[l + 1].end() - 2 * kHalfBandReach - kSlack);
    if (keep > level.begin()) level.forget(keep);
  }
}

int64_t CqtStream::ready() const { return *std::min_element(next_.begin(), next_.end()) - taken_; }

bool CqtStream::done() const { return *std::min_element(next_.begin(), next_.end()) >= limit_; }

void CqtStream::take(float* out, int64_t rows) {
  if (rows > ready()) throw std::logic_error("cqt: more frames asked for than are ready");
  const size_t n = rows * plan_.n_bins;
  std::memcpy(out, rows_.data(), n * sizeof(float));
  rows_.erase(rows_.begin(), rows_.begin() + n);
  taken_ += rows;
}

}  // namespace chordfast
