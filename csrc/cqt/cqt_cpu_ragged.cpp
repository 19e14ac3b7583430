// Songs of different lengths in one call on the CPU.
#include <algorithm>
#include <vector>

#include "common/check.h"
#include "common/parallel.h"
#include "cqt/cqt_stream.h"

using chordfast::CqtStream;

extern "C" cf_status cf_cqt_forward_ragged_cpu(const cf_cqt_plan* plan, const float* x, const cf_cqt_song* songs,
                                               int64_t n_songs, float* out, int threads) {
  return CF_GUARD([&] {
    CF_CHECK(n_songs >= 0 && threads >= 1, "cqt: negative size or no thread");
    struct Range {
      const cf_cqt_song* song;
      int64_t first, end;
    };
    std::vector<Range> ranges;
    for (const cf_cqt_song* song = songs; song != songs + n_songs; ++song) {
      const int64_t frames = plan->frames(song->samples);
      if (frames == 0) continue;
      // Each range pays for a run-up of about 22 frames; songs alone are work enough for the threads when there are
      // many.
      const int64_t parts = std::max<int64_t>(1, std::min<int64_t>((threads + n_songs - 1) / n_songs, frames / 256));
      for (int64_t i = 0; i < parts; ++i) ranges.push_back({song, frames * i / parts, frames * (i + 1) / parts});
    }
    // Long ones first, so that no thread starts one when the others are done.
    std::stable_sort(ranges.begin(), ranges.end(),
                     [](const Range& a, const Range& b) { return a.end - a.first > b.end - b.first; });
    chordfast::parallel_for(static_cast<int64_t>(ranges.size()), threads, [&](int64_t i) {
      const auto [song, first, end] = ranges[i];
      CqtStream stream(*plan, first);
      stream.write_to(out + (song->row + first) * plan->n_bins, end);
      const int64_t start = CqtStream::start_sample(*plan, first);
      stream.push(x + song->begin + start, song->samples - start);
      if (!stream.done()) stream.finish();
    });
    return CF_OK;
  });
}
