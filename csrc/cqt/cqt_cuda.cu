// The transform on a GPU: the plan's constants, the workspace's layout, and the launches.
#include <algorithm>
#include <climits>
#include <memory>
#include <vector>

#include "cqt/cqt.h"
#include "cqt/cqt_kernel.cuh"
#include "cqt/cqt_pyramid.cuh"

using namespace chordfast;
using namespace chordfast::cqt;

struct cf_cqt_cuda_plan {
  Geometry geometry{};
  int tile_bins = 0, bin_tiles = 0;
  std::vector<float> constants;

  int64_t frames(int64_t n) const {
    if (n < 2) return 0;
    int64_t fewest = INT64_MAX;
    for (int level = 0; level < geometry.levels; ++level, n = (n + 1) / 2)
      if (level >= geometry.halvings) fewest = std::min(fewest, 1 + n / (geometry.hop >> level));
    return fewest;
  }
};

namespace {

int64_t rounded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// [taps][bins][2] -> [bin tile][taps rounded up][real, imaginary][tile_bins], zeros elsewhere
int64_t add_filters(cf_cqt_cuda_plan& plan, const float* from, int taps, int bins) {
  const int padded = static_cast<int>(rounded(taps, kSlab)), width = plan.tile_bins;
  const int64_t at = static_cast<int64_t>(plan.constants.size());
  plan.constants.resize(at + static_cast<int64_t>(plan.bin_tiles) * padded * 2 * width, 0.0f);
  for (int t = 0; t < taps; ++t)
    for (int b = 0; b < bins; ++b)
      for (int part = 0; part < 2; ++part)
        plan.constants[at + ((static_cast<int64_t>(b / width) * padded + t) * 2 + part) * width + b % width] =
            from[(static_cast<int64_t>(t) * bins + b) * 2 + part];
  return at;
}

int64_t add_plain(cf_cqt_cuda_plan& plan, const float* from, int64_t n) {
  const int64_t at = static_cast<int64_t>(plan.constants.size());
  plan.constants.insert(plan.constants.end(), from, from + n);
  plan.constants.resize(rounded(at + n, 4), 0.0f);  // the next array starts at a multiple of 16 bytes
  return at;
}

// The songs that have frames, and where everything about them lies in the workspace (bytes from its start).
struct Batch {
  Geometry geometry;
  int64_t frames = 0, bytes = 0;
  std::vector<Piece> songs;
  struct Pass {
    int source, count;
    std::vector<Piece> tiles;
    int64_t n_tiles, table, owner;
  };
  std::vector<Pass> passes;
  int64_t table, owner, cuts, levels;

  Batch(const cf_cqt_cuda_plan& plan, const cf_cqt_song* from, int64_t n) : geometry(plan.geometry) {
    Geometry& g = geometry;
    int64_t padded = 0;
    for (int64_t s = 0; s < n; ++s) {
      const int64_t count = plan.frames(from[s].samples);
      if (count == 0) continue;
      songs.push_back({frames, count, {from[s].begin, from[s].samples, from[s].row, padded}});
      frames += count;
      padded += song_room(g, from[s].samples);
    }
    const int64_t kept = static_cast<int64_t>(songs.size());
    const int64_t rows = std::max<int64_t>(kept, 1) * static_cast<int64_t>(sizeof(Piece));
    table = take(rows);
    owner = take(frames * static_cast<int64_t>(sizeof(int32_t)));
    for (int source = 0; source < g.stored; source += kPassLevels) {
      Pass pass{source, std::min(kPassLevels, g.stored - source), songs, 0, 0, 0};
      for (Piece& piece : pass.tiles) {
        const int64_t ring = int64_t{2 * kRing} << pass.count;
        piece.first = pass.n_tiles;
        piece.count = (halved(piece.data[1], source) + ring + kTileSamples - 1) / kTileSamples;
        pass.n_tiles += piece.count;
      }
      pass.table = take(rows);
      pass.owner = take(pass.n_tiles * static_cast<int64_t>(sizeof(int32_t)));
      passes.push_back(std::move(pass));
    }
    cuts = take(kept * 2 * g.levels * kCutSpan * static_cast<int64_t>(sizeof(float)));
    int64_t floats = 0;
    for (int l = 1; l <= g.stored; ++l) {
      g.level[l] = floats;
      floats += (padded >> l) + kept * 2 * g.lead;
    }
    levels = take(floats * static_cast<int64_t>(sizeof(float)));
  }

 private:
  int64_t take(int64_t size) {
    const int64_t at = bytes;
    bytes += rounded(size, 256);
    return at;
  }
};

template <int kBins>
cf_status launch_octaves(const cf_cqt_cuda_plan& plan, const Geometry& g, const OctaveInput& in, const OctaveOutput& to,
                         void* stream) {
  using Shape = OctaveShape<kBins>;
  constexpr size_t bytes = Shape::shared_floats * sizeof(float);
  if (const cf_status status = allow_dynamic_shared(cqt_octaves<kBins>, bytes)) return status;
  const dim3 grid(static_cast<unsigned>((in.frames + kFrames - 1) / kFrames), static_cast<unsigned>(g.n_octaves),
                  static_cast<unsigned>(plan.bin_tiles));
  CF_LAUNCH((cqt_octaves<kBins>), grid, dim3(Shape::threads), bytes, stream, g, in, to);
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

}  // namespace

extern "C" cf_status cf_cqt_cuda_plan_create(const cf_cqt_filters* f, cf_cqt_cuda_plan** out) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(f->n_octaves >= 1 && f->bins >= 1 && f->n_bins >= 1 && f->n_bins <= f->n_octaves * f->bins,
             "cqt: %d bins do not fit %d octaves of %d", f->n_bins, f->n_octaves, f->bins);
    CF_CHECK(f->n_fft >= 4 && f->halvings >= 0 && f->hop >> (f->halvings + f->n_octaves - 1) >= 1,
             "cqt: hop %d is too short for %d octaves", f->hop, f->n_octaves);
    CF_CHECK(f->n_decimation == kReach + 1, "cqt: the decimation filter has %d taps, not %d", f->n_decimation,
             kReach + 1);
    auto plan = std::make_unique<cf_cqt_cuda_plan>();
    Geometry& g = plan->geometry;
    g.n_octaves = f->n_octaves;
    g.bins = f->bins;
    g.n_bins = f->n_bins;
    g.n_fft = f->n_fft;
    g.hop = f->hop;
    g.halvings = f->halvings;
    g.log_output = f->log_output != 0;
    g.levels = f->halvings + f->n_octaves;
    g.stored = std::max(0, g.levels - 2);
    CF_CHECK(g.stored < kMostLevels, "cqt: %d octaves below the sample rate are more than %d", g.levels, kMostLevels);
    std::copy_n(f->half_band, 9, g.half_band);
    plan->tile_bins = f->bins <= 12 ? 12 : f->bins <= 24 || rounded(f->bins, 24) <= rounded(f->bins, 36) ? 24 : 36;
    plan->bin_tiles = (f->bins + plan->tile_bins - 1) / plan->tile_bins;
    g.composite_taps = static_cast<int>(rounded(f->n_composite, kSlab));
    g.direct_taps = static_cast<int>(rounded(f->n_direct, kSlab));
    g.composite = add_filters(*plan, f->composite, f->n_composite, f->bins);
    g.direct = add_filters(*plan, f->direct, f->n_direct, f->bins);
    g.octave = add_plain(*plan, f->octave, static_cast<int64_t>(f->n_fft) * f->bins * 2);
    g.scale = add_plain(*plan, f->scale, static_cast<int64_t>(f->n_octaves) * f->bins);
    g.decimation = add_plain(*plan, f->decimation, f->n_decimation);
    // Beyond either end, the widest reader: folded taps, the unpaired taps' filter, the filter that makes the cuts.
    const int widest = std::max({g.composite_taps, g.n_fft + kShortReach + 1, 2 * kCut + kReach + 6});
    g.lead = static_cast<int>(rounded(widest + 2 * kRing, 4));
    *out = plan.release();
    return CF_OK;
  });
}

extern "C" void cf_cqt_cuda_plan_destroy(cf_cqt_cuda_plan* plan) { delete plan; }

extern "C" int64_t cf_cqt_cuda_constants(const cf_cqt_cuda_plan* plan, float* host) {
  if (host) std::copy(plan->constants.begin(), plan->constants.end(), host);
  return static_cast<int64_t>(plan->constants.size());
}

extern "C" int64_t cf_cqt_cuda_workspace(const cf_cqt_cuda_plan* plan, const cf_cqt_song* songs, int64_t n_songs) {
  return Batch(*plan, songs, n_songs).bytes;
}

extern "C" cf_status cf_cqt_forward_cuda(const cf_cqt_cuda_params* p, int device, void* stream) {
  return CF_GUARD([&]() -> cf_status {
    for (int64_t s = 0; s < p->n_songs; ++s)
      CF_CHECK(p->songs[s].begin >= 0 && p->songs[s].samples >= 0 && p->songs[s].row >= 0,
               "cqt: song %lld has a negative size", static_cast<long long>(s));
    const Batch batch(*p->plan, p->songs, p->n_songs);
    if (batch.songs.empty()) return CF_OK;
    CF_CHECK(batch.songs.size() <= INT_MAX / 2, "cqt: too many songs in one batch");
    CF_DEVICE(device);
    const Geometry& g = batch.geometry;
    char* space = static_cast<char*>(p->workspace);
    const auto at = [&](int64_t offset) { return reinterpret_cast<float*>(space + offset); };
    Piece* songs = reinterpret_cast<Piece*>(space + batch.table);
    int32_t* owner = reinterpret_cast<int32_t*>(space + batch.owner);
    if (const cf_status status = launch_pieces(batch.songs, songs, owner, stream)) return status;
    for (const auto& pass : batch.passes) {
      Piece* tiles = reinterpret_cast<Piece*>(space + pass.table);
      int32_t* tile_owner = reinterpret_cast<int32_t*>(space + pass.owner);
      if (const cf_status status = launch_pieces(pass.tiles, tiles, tile_owner, stream)) return status;
      CF_LAUNCH(cqt_pyramid, dim3(static_cast<unsigned>(pass.n_tiles)), dim3(kPyramidThreads), 0, stream, g, p->x,
                at(batch.levels), tiles, tile_owner, pass.source, pass.count);
      CF_LAUNCH_CHECK(stream);
    }
    if (g.levels > 1) {
      CF_LAUNCH(cqt_cuts, dim3(static_cast<unsigned>(2 * batch.songs.size())), dim3(kCutSpan), 0, stream, g,
                p->constants, p->x, at(batch.levels), songs, at(batch.cuts));
      CF_LAUNCH_CHECK(stream);
    }
    const OctaveInput in{p->constants, p->x, at(batch.levels), at(batch.cuts), songs, owner, batch.frames};
    const OctaveOutput to{p->out, p->out_half, p->subtract, p->multiply};
    switch (p->plan->tile_bins) {
      case 12: return launch_octaves<12>(*p->plan, g, in, to, stream);
      case 24: return launch_octaves<24>(*p->plan, g, in, to, stream);
      default: return launch_octaves<36>(*p->plan, g, in, to, stream);
    }
  });
}
