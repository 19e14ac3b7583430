// Ingest on a GPU: which stages a pair of rates needs, the workspace's layout, and the launches.
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "ingest/ingest.h"
#include "ingest/ingest_design.h"
#include "ingest/ingest_kernel.cuh"

namespace ci = chordfast::ingest;
using chordfast::Piece;

namespace {

constexpr int64_t kGroupFloats = 24000;  // shared memory of a block, two blocks on one multiprocessor

int64_t rounded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
int64_t floor_half(int64_t n) { return n >= 0 ? n / 2 : -((1 - n) / 2); }

}  // namespace

struct cf_ingest_cuda_plan {
  int64_t rate, target;
  ci::Design design;
  std::vector<float> constants;
  ci::Groups groups{};  // periods is 0 when the filter does not fit this kernel

  // What a thread's group shares: neighbouring outputs, 5 to 8 of them, whichever width repeats soonest.
  void arrange() {
    const ci::Filter& f = design.filter;
    if (f.interpolated) return;
    int width = 8;
    if (std::lcm<int64_t>(f.phases, 8) > 64)
      for (int w : {7, 6, 5})
        if (std::lcm<int64_t>(f.phases, w) < std::lcm<int64_t>(f.phases, width)) width = w;
    const int64_t outputs = std::lcm<int64_t>(f.phases, width), period_in = outputs / f.phases * f.step;
    const int64_t taps = f.taps + ((width - 1) * f.step + f.phases - 1) / f.phases;
    int periods = 512;
    const auto stride = [&](int n) {
      return (n + (period_in - 1 + taps) / period_in + 1) | 1;
    };  // odd: no bank conflicts
    while (periods > 1 && period_in * stride(periods) > kGroupFloats) periods /= 2;
    if (periods < 2) return;
    groups = {nullptr,
              f.step,
              f.phases,
              width,
              static_cast<int>(outputs / width),
              static_cast<int>(taps),
              f.lead,
              static_cast<int>(period_in),
              periods,
              static_cast<int>(stride(periods))};
    constants.assign(static_cast<size_t>(groups.count) * taps * 8, 0.0f);
    for (int64_t g = 0; g < groups.count; ++g)
      for (int r = 0; r < width; ++r) {
        const int64_t at = (g * width + r) * f.step, shift = at / f.phases - g * width * f.step / f.phases;
        const float* row = f.weights.data() + at % f.phases * f.taps;
        for (int t = 0; t < f.taps; ++t) constants[((g * taps) + t + shift) * 8 + r] = row[t];
      }
  }
};

namespace {

// The stages of one batch and where everything lies in the workspace (bytes from its start).
struct Batch {
  struct Stage {
    enum Kind { copy, half_band, groups, rows } kind;
    int order;                                                      // of the half-band filter
    int64_t tile, in_first, out_first, n_tiles, table, owner, out;  // out: bytes, unless the last stage
    std::vector<Piece> pieces;
  };
  std::vector<Stage> stages;
  int64_t bytes = 0;

  Batch(const cf_ingest_cuda_plan& plan, const cf_ingest_song* songs, int64_t n) {
    const ci::Design& d = plan.design;
    std::vector<int64_t> begin(n), count(n);
    for (int64_t s = 0; s < n; ++s) begin[s] = songs[s].begin, count[s] = songs[s].frames;
    int64_t first = 0;
    const auto add = [&](Stage::Kind kind, int order, int64_t tile, bool last) {
      const int64_t radius = 2 * order - 1;
      Stage stage{kind, order, tile, first, last ? 0 : floor_half(first - radius + 1), 0, 0, 0, 0, {}};
      int64_t floats = 0;
      for (int64_t s = 0; s < n; ++s) {
        int64_t made = 0;
        if (last)
          made = (songs[s].frames * plan.target + plan.rate - 1) / plan.rate;
        else if (count[s] > 0)  // with all of the filter's ringing
          made = floor_half(first + count[s] - 1 + radius) + 1 - stage.out_first;
        const int64_t tiles = (made + tile - 1) / tile, to = last ? songs[s].first : floats;
        stage.pieces.push_back({stage.n_tiles, tiles, {begin[s], count[s], to, made}});
        stage.n_tiles += tiles;
        begin[s] = floats;
        count[s] = made;
        floats += rounded(made, 4);
      }
      stage.table = take(n * static_cast<int64_t>(sizeof(Piece)));
      stage.owner = take(stage.n_tiles * static_cast<int64_t>(sizeof(int32_t)));
      stage.out = last ? 0 : take(floats * static_cast<int64_t>(sizeof(float)));
      first = stage.out_first;
      stages.push_back(std::move(stage));
    };
    for (size_t k = 0; k < d.half_bands.size(); ++k)
      add(Stage::half_band, d.half_bands[k], ci::kHalfBandTile, k + 1 == d.half_bands.size() && !d.polyphase);
    if (d.polyphase && plan.groups.periods)
      add(Stage::groups, 0, static_cast<int64_t>(plan.groups.periods) * plan.groups.width * plan.groups.count, true);
    else if (d.polyphase)
      add(Stage::rows, 0, ci::kRowsTile, true);
    else if (d.half_bands.empty())
      add(Stage::copy, 0, ci::kCopyTile, true);
  }

 private:
  int64_t take(int64_t size) {
    const int64_t at = bytes;
    bytes += rounded(size, 256);
    return at;
  }
};

template <class T>
cf_status launch(const cf_ingest_cuda_plan& plan, const float* constants, const Batch::Stage& stage,
                 const ci::StageParams& params, void* stream) {
  const dim3 grid(static_cast<unsigned>(stage.n_tiles)), block(ci::kThreads);
  switch (stage.kind) {
    case Batch::Stage::copy: CF_LAUNCH((ci::ingest_copy<T>), grid, block, 0, stream, params); break;
    case Batch::Stage::half_band: {
      ci::HalfBand filter{stage.order, {}};
      std::copy_n(ci::half_band(stage.order), stage.order, filter.taps);
      CF_LAUNCH((ci::ingest_half_band<T>), grid, block, 0, stream, params, filter);
      break;
    }
    case Batch::Stage::groups: {
      ci::Groups groups = plan.groups;
      groups.weights = constants;
      const size_t bytes = static_cast<size_t>(groups.period_in) * groups.stride * sizeof(float);
      if (const cf_status status = chordfast::allow_dynamic_shared(ci::ingest_groups<T>, bytes)) return status;
      CF_LAUNCH((ci::ingest_groups<T>), grid, block, bytes, stream, params, groups);
      break;
    }
    case Batch::Stage::rows: {
      const ci::Filter& f = plan.design.filter;
      const ci::Rows rows{constants, f.step, f.phases, f.taps, f.lead, f.rows, f.interpolated};
      const size_t bytes = static_cast<size_t>(ci::kRowsTile * f.step / f.phases + 2 + f.taps) * sizeof(float);
      CF_LAUNCH((ci::ingest_rows<T>), grid, block, bytes, stream, params, rows);
      break;
    }
  }
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

}  // namespace

extern "C" cf_status cf_ingest_cuda_plan_create(int64_t rate, int64_t target, int quality, cf_ingest_cuda_plan** out) {
  return CF_GUARD([&]() -> cf_status {
    for (const int64_t hz : {rate, target})
      CF_CHECK(hz >= CF_INGEST_MIN_RATE && hz <= CF_INGEST_MAX_RATE, "sample rate %lld Hz is not in %d..%d Hz",
               static_cast<long long>(hz), CF_INGEST_MIN_RATE, CF_INGEST_MAX_RATE);
    CF_CHECK(quality == CF_INGEST_EXACT || quality == CF_INGEST_RELAXED, "unknown quality %d", quality);
    auto plan = std::make_unique<cf_ingest_cuda_plan>();
    plan->rate = rate;
    plan->target = target;
    plan->design = ci::design(rate, target, quality == CF_INGEST_EXACT);
    if (plan->design.polyphase) plan->arrange();
    if (plan->constants.empty()) plan->constants = std::move(plan->design.filter.weights);
    *out = plan.release();
    return CF_OK;
  });
}

extern "C" void cf_ingest_cuda_plan_destroy(cf_ingest_cuda_plan* plan) { delete plan; }

extern "C" int64_t cf_ingest_cuda_constants(const cf_ingest_cuda_plan* plan, float* host) {
  if (host) std::copy(plan->constants.begin(), plan->constants.end(), host);
  return static_cast<int64_t>(plan->constants.size());
}

extern "C" int64_t cf_ingest_cuda_workspace(const cf_ingest_cuda_plan* plan, const cf_ingest_song* songs,
                                            int64_t n_songs) {
  return Batch(*plan, songs, n_songs).bytes;
}

extern "C" cf_status cf_ingest_forward_cuda(const cf_ingest_cuda_params* p, int device, void* stream) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(p->channels >= 1 && p->channels <= CF_INGEST_MAX_CHANNELS, "%d channels; 1 to %d are supported",
             p->channels, CF_INGEST_MAX_CHANNELS);
    for (int64_t s = 0; s < p->n_songs; ++s)
      CF_CHECK(p->songs[s].begin >= 0 && p->songs[s].frames >= 0 && p->songs[s].first >= 0,
               "ingest: song %lld has a negative size", static_cast<long long>(s));
    const Batch batch(*p->plan, p->songs, p->n_songs);
    CF_DEVICE(device);
    char* space = static_cast<char*>(p->workspace);
    const void* in = p->pcm;
    for (size_t k = 0; k < batch.stages.size(); ++k) {
      const Batch::Stage& stage = batch.stages[k];
      if (stage.n_tiles == 0) return CF_OK;  // nothing but empty recordings
      Piece* pieces = reinterpret_cast<Piece*>(space + stage.table);
      int32_t* owner = reinterpret_cast<int32_t*>(space + stage.owner);
      if (const cf_status status = chordfast::launch_pieces(stage.pieces, pieces, owner, stream)) return status;
      const bool raw = k == 0;
      float* out = k + 1 == batch.stages.size() ? p->out : reinterpret_cast<float*>(space + stage.out);
      const ci::StageParams params{in,
                                   out,
                                   pieces,
                                   owner,
                                   raw ? reinterpret_cast<unsigned long long*>(p->non_finite) : nullptr,
                                   raw ? p->channels : 1,
                                   stage.in_first,
                                   stage.out_first};
      const auto run = raw && !p->is_float ? launch<int16_t> : launch<float>;
      if (const cf_status status = run(*p->plan, p->constants, stage, params, stream)) return status;
      in = out;
    }
    return CF_OK;
  });
}
