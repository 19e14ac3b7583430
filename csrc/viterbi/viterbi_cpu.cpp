// Viterbi in O(frames * classes). With equal off-diagonal transitions the best predecessor of state k other than k
// itself is the best state of all or, for the best state, the second best: a frame has two candidates, not K. And
// instead of K back-pointers a frame, every state carries the frame at which its current stay began; the back-trace
// only ever looks that up for the two candidates of a frame, and jumps from stay to stay.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/check.h"
#include "viterbi/viterbi.h"

namespace {

// What every x86-64 and AArch64 processor has; AVX2 saves 13 %: no reason for a second copy.
constexpr int kLanes = 2;
constexpr double kNever = -std::numeric_limits<double>::infinity();

// Portable vectors of GCC and Clang: without them the selections below become branches.
typedef double Vec __attribute__((vector_size(kLanes * sizeof(double))));

// By reference, not by value, so that no ABI of wide vectors is involved.
template <class T>
void load(const T* from, Vec& to) {
  typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T))));
  Narrow value;
  std::memcpy(&value, from, sizeof value);
  to = __builtin_convertvector(value, Vec);
}
void store(const Vec& from, double* to) { std::memcpy(to, &from, sizeof from); }

// The two best states after a frame, and the frames at which their stays began.
struct Candidates {
  int32_t first, second;
  int64_t first_entry, second_entry;
};

// moved = total + step over `padded` entries, and its largest and second largest value (the same if it occurs twice).
void move(const double* total, double step, int64_t padded, double* moved, double* first, double* second) {
  Vec best = Vec{} + kNever, next = best, value;
  for (int64_t k = 0; k < padded; k += kLanes) {
    load(total + k, value);
    value += step;
    store(value, moved + k);
    const Vec loser = value < best ? value : best;
    best = value > best ? value : best;
    next = loser > next ? loser : next;
  }
  double top = kNever, runner_up = kNever;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (const double x : {best[lane], next[lane]}) {
      const double loser = x < top ? x : top;
      top = x > top ? x : top;
      runner_up = loser > runner_up ? loser : runner_up;
    }
  }
  *first = top;
  *second = runner_up;
}

// Lowest k with score[k] == value, passing over `skip`; the caller knows that there is one.
int64_t find(const double* score, double value, int64_t skip) {
  Vec row;
  for (int64_t k = 0;; k += kLanes) {
    load(score + k, row);
    const auto same = row == value;
    if (!(same[0] | same[1])) continue;
    for (int64_t i = k; i < k + kLanes; ++i)
      if (score[i] == value && i != skip) return i;
  }
}

// One frame for states [begin, end): stay in k, or come from the candidate whose score is `cross`. A candidate of lower
// index than k also wins a tie (`or_equal`), one of higher index does not. `entry` holds whole frame numbers.
template <bool or_equal, class T>
void advance(const T* observed, double log_stay, double cross, double frame, int64_t begin, int64_t end, double* total,
             double* entry) {
  int64_t k = begin;
  Vec stay, kept, seen;
  for (; k + kLanes <= end; k += kLanes) {
    load(total + k, stay);
    load(entry + k, kept);
    load(observed + k, seen);
    stay += log_stay;
    const auto moves = or_equal ? cross >= stay : cross > stay;
    store((moves ? cross - Vec{} : stay) + seen, total + k);
    store(moves ? frame - Vec{} : kept, entry + k);
  }
  for (; k < end; ++k) {
    const double staying = total[k] + log_stay;
    const bool moves = or_equal ? cross >= staying : cross > staying;
    total[k] = (moves ? cross : staying) + static_cast<double>(observed[k]);
    if (moves) entry[k] = frame;
  }
}

// Whether a row is free of NaN and +inf.
template <class T>
bool valid(const T* row, int64_t classes) {
  int bad = 0;
  for (int64_t k = 0; k < classes; ++k) bad |= !(row[k] <= std::numeric_limits<T>::max());
  return bad == 0;
}

template <class T>
cf_status viterbi(const T* log_probs, int64_t frames, int64_t classes, double self_transition,
                  const double* log_initial, int64_t* path, int64_t* bad_frame) {
  *bad_frame = -1;
  CF_CHECK(frames >= 0 && classes >= 1 && classes <= INT32_MAX - kLanes, "frames %lld, classes %lld",
           static_cast<long long>(frames), static_cast<long long>(classes));
  CF_CHECK(self_transition >= 0 && self_transition <= 1, "self_transition %g", self_transition);
  if (frames == 0) return CF_OK;
  const double log_stay = classes == 1 ? 0 : std::log(self_transition);
  const double log_move = classes == 1 ? kNever : std::log((1 - self_transition) / static_cast<double>(classes - 1));
  const double log_uniform = -std::log(static_cast<double>(classes));

  const int64_t padded = (classes + kLanes - 1) / kLanes * kLanes;
  std::vector<double> total(padded, kNever), moved(padded, kNever);
  std::vector<double> entry(padded, 0);
  std::vector<Candidates> candidates(frames);
  auto reject = [&](int64_t frame) {
    *bad_frame = frame;
    return chordfast::fail(CF_INVALID, __FILE__, __LINE__, "NaN or +inf in frame %lld", static_cast<long long>(frame));
  };

  if (!valid(log_probs, classes)) return reject(0);
  for (int64_t k = 0; k < classes; ++k)
    total[k] = (log_initial ? log_initial[k] : log_uniform) + static_cast<double>(log_probs[k]);
  double best = kNever, second = kNever;
  for (int64_t t = 1; t <= frames; ++t) {
    // Comparing the rounded sums, not the totals, makes ties those of a K x K search; the last round has no sum.
    const double step = t < frames ? log_move : 0;
    move(total.data(), step, padded, moved.data(), &best, &second);
    const int64_t first_state = find(moved.data(), best, -1);
    const int64_t second_state = classes > 1 ? find(moved.data(), second, first_state) : first_state;
    candidates[t - 1] = {static_cast<int32_t>(first_state), static_cast<int32_t>(second_state),
                         static_cast<int64_t>(entry[first_state]), static_cast<int64_t>(entry[second_state])};
    if (t == frames) break;
    const T* row = log_probs + t * classes;
    if (!valid(row, classes)) return reject(t);
    advance<false>(row, log_stay, best, t, 0, first_state, total.data(), entry.data());
    if (second_state < first_state)
      advance<true>(row, log_stay, second, t, first_state, first_state + 1, total.data(), entry.data());
    else
      advance<false>(row, log_stay, second, t, first_state, first_state + 1, total.data(), entry.data());
    advance<true>(row, log_stay, best, t, first_state + 1, classes, total.data(), entry.data());
  }
  CF_CHECK(best > kNever, "no path of non-zero probability");

  int64_t state = candidates[frames - 1].first, begin = candidates[frames - 1].first_entry;
  for (int64_t t = frames - 1;;) {
    for (; t >= begin; --t) path[t] = state;
    if (t < 0) return CF_OK;
    const Candidates& from = candidates[t];
    const bool use_second = from.first == state;
    state = use_second ? from.second : from.first;
    begin = use_second ? from.second_entry : from.first_entry;
  }
}

}  // namespace

extern "C" cf_status cf_viterbi_f32(const float* log_probs, int64_t frames, int64_t classes, double self_transition,
                                    const double* log_initial, int64_t* path, int64_t* bad_frame) {
  return CF_GUARD([&] { return viterbi(log_probs, frames, classes, self_transition, log_initial, path, bad_frame); });
}

extern "C" cf_status cf_viterbi_f64(const double* log_probs, int64_t frames, int64_t classes, double self_transition,
                                    const double* log_initial, int64_t* path, int64_t* bad_frame) {
  return CF_GUARD([&] { return viterbi(log_probs, frames, classes, self_transition, log_initial, path, bad_frame); });
}
