// The dropout bits of every operator, the same on every device. Philox (Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3", 2011) in two levels: 4x32-10, keyed by the seed, turns (sequence, offset) into the key of a
// sequence; 2x32-10 under that key turns the number of a group of four values into their 4 x 16 bits.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define CF_PHILOX __host__ __device__ inline
#else
#define CF_PHILOX inline
#endif

namespace chordfast {

struct DropoutKey {
  uint32_t key, high;
};

CF_PHILOX void multiply_wide(uint32_t a, uint32_t b, uint32_t& high, uint32_t& low) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

CF_PHILOX DropoutKey dropout_key(int64_t seed, int64_t offset, int64_t sequence) {
  uint32_t c0 = static_cast<uint32_t>(sequence), c1 = static_cast<uint32_t>(static_cast<uint64_t>(sequence) >> 32);
  uint32_t c2 = static_cast<uint32_t>(offset), c3 = static_cast<uint32_t>(static_cast<uint64_t>(offset) >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
  for (int round = 0; round < 10; ++round) {
    uint32_t high0, low0, high1, low1;
    multiply_wide(0xD2511F53u, c0, high0, low0);
    multiply_wide(0xCD9E8D57u, c2, high1, low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1};
}

// The bits of group ``number`` of a sequence.
CF_PHILOX void group_bits(DropoutKey key, uint32_t number, uint32_t& first, uint32_t& second) {
  uint32_t x0 = number, x1 = key.high, k = key.key;
  for (int round = 0; round < 10; ++round) {
    uint32_t high, low;
    multiply_wide(0xD256D193u, x0, high, low);
    x0 = high ^ k ^ x1;
    x1 = low;
    k += 0x9E3779B9u;
  }
  first = x0;
  second = x1;
}

// A value is kept if its 16 bits are below this; 0 stands for "no dropout".
CF_PHILOX uint32_t dropout_threshold(float rate) {
  if (!(rate > 0.0f)) return 0;
  const int threshold = static_cast<int>((1.0 - static_cast<double>(rate)) * 65536.0 + 0.5);
  return threshold < 1 ? 1u : threshold > 65535 ? 0u : static_cast<uint32_t>(threshold);
}

}  // namespace chordfast
