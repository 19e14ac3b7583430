// Warp collectives: shuffles, votes, matches, reductions. A lane that the mask does not name reads as poison (NaN).
#pragma once

namespace chordfast {
namespace simt {

template <class T>
struct Shuffle {
  T value;
  int which, width;  // source lane, delta or lane mask; segment width
};

enum class Direction { index, up, down, exclusive };

template <class T, Direction direction>
void shuffle(const Shuffle<T>* const* in, T* const* out, unsigned mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const int width = in[lane]->width, which = in[lane]->which, first = lane & ~(width - 1), last = first + width - 1;
    int source = lane;
    if (direction == Direction::index) source = first + (which & (width - 1));
    if (direction == Direction::up && lane - which >= first) source = lane - which;
    if (direction == Direction::down && lane + which <= last) source = lane + which;
    // A butterfly may read an earlier segment, never a later one.
    if (direction == Direction::exclusive && (lane ^ which) <= last) source = lane ^ which;
    if (mask >> source & 1)
      std::memcpy(static_cast<void*>(out[lane]), &in[source]->value, sizeof(T));
    else
      std::memset(static_cast<void*>(out[lane]), 0xff, sizeof(T));
  }
}

template <class T, Direction direction>
T call_shuffle(const char* name, unsigned mask, const T& value, int which, int width, Site site) {
  if (width < 1 || width > 32 || (width & (width - 1)))
    stop("%s: width %d is not a power of two up to 32", name, width);
  return warp_exchange<Shuffle<T>, T, shuffle<T, direction>>(name, mask, {value, which, width}, site);
}

inline void ballot(const int* const* in, unsigned* const* out, unsigned mask) {
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1 && *in[i]) votes |= 1u << i;
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1) *out[i] = votes;
}

template <class T>
void match(const T* const* in, unsigned* const* out, unsigned mask) {
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    *out[i] = 0;
    for (int j = 0; j < 32; ++j)
      if (mask >> j & 1 && !std::memcmp(in[i], in[j], sizeof(T))) *out[i] |= 1u << j;
  }
}

enum class Reduction { add, min, max, bit_and, bit_or, bit_xor };

template <class T, Reduction kind>
void reduce(const T* const* in, T* const* out, unsigned mask) {
  bool first = true;
  T total{};
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    const T v = *in[i];
    if (first)
      total = v;
    else if (kind == Reduction::add)
      total += v;
    else if (kind == Reduction::min)
      total = v < total ? v : total;
    else if (kind == Reduction::max)
      total = v > total ? v : total;
    else if (kind == Reduction::bit_and)
      total &= v;
    else if (kind == Reduction::bit_or)
      total |= v;
    else
      total ^= v;
    first = false;
  }
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1) *out[i] = total;
}

inline void meet(const char* const*, char* const* out, unsigned mask) {
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1) *out[i] = 0;
}

}  // namespace simt
}  // namespace chordfast

inline void __syncwarp(unsigned mask = 0xffffffffu, CF_SIMT_SITE) {
  ::chordfast::simt::warp_exchange<char, char, ::chordfast::simt::meet>("__syncwarp", mask, 0, CF_SIMT_HERE, true);
}

#define CF_SIMT_SHUFFLE(name, direction, Which)                                                                   \
  template <class T>                                                                                              \
  T name(unsigned mask, T value, Which which, int width = 32, CF_SIMT_SITE) {                                     \
    return ::chordfast::simt::call_shuffle<T, ::chordfast::simt::Direction::direction>(#name, mask, value, which, \
                                                                                       width, CF_SIMT_HERE);      \
  }
CF_SIMT_SHUFFLE(__shfl_sync, index, int)
CF_SIMT_SHUFFLE(__shfl_up_sync, up, unsigned)
CF_SIMT_SHUFFLE(__shfl_down_sync, down, unsigned)
CF_SIMT_SHUFFLE(__shfl_xor_sync, exclusive, int)
#undef CF_SIMT_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::warp_exchange<int, unsigned, ::chordfast::simt::ballot>("__ballot_sync", mask, predicate,
                                                                                    CF_SIMT_HERE);
}
inline int __any_sync(unsigned mask, int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::warp_exchange<int, unsigned, ::chordfast::simt::ballot>("__any_sync", mask, predicate,
                                                                                    CF_SIMT_HERE) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::warp_exchange<int, unsigned, ::chordfast::simt::ballot>("__all_sync", mask, predicate,
                                                                                    CF_SIMT_HERE) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CF_SIMT_SITE) {
  return ::chordfast::simt::warp_exchange<T, unsigned, ::chordfast::simt::match<T>>("__match_any_sync", mask, value,
                                                                                    CF_SIMT_HERE);
}

#define CF_SIMT_REDUCE(name, T, kind)                                                                                \
  inline T name(unsigned mask, T value, CF_SIMT_SITE) {                                                              \
    return ::chordfast::simt::warp_exchange<T, T, ::chordfast::simt::reduce<T, ::chordfast::simt::Reduction::kind>>( \
        #name, mask, value, CF_SIMT_HERE);                                                                           \
  }
CF_SIMT_REDUCE(__reduce_add_sync, int, add)
CF_SIMT_REDUCE(__reduce_add_sync, unsigned, add)
CF_SIMT_REDUCE(__reduce_min_sync, int, min)
CF_SIMT_REDUCE(__reduce_min_sync, unsigned, min)
CF_SIMT_REDUCE(__reduce_max_sync, int, max)
CF_SIMT_REDUCE(__reduce_max_sync, unsigned, max)
CF_SIMT_REDUCE(__reduce_and_sync, unsigned, bit_and)
CF_SIMT_REDUCE(__reduce_or_sync, unsigned, bit_or)
CF_SIMT_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef CF_SIMT_REDUCE
