// What both the CPU and the CUDA launcher refuse; the Python op has said it in the user's terms before.
#pragma once

#include "attention/attention.h"
#include "common/check.h"

namespace chordfast {

inline cf_status attention_check(const cf_attention_shape& s, const int64_t* seed) {
  CF_CHECK(s.directions >= 0 && s.batch >= 0 && s.heads >= 0, "attention: a negative size");
  CF_CHECK(s.queries >= 0 && s.queries <= CF_ATTENTION_LENGTH && s.keys >= 0 && s.keys <= CF_ATTENTION_LENGTH,
           "attention: %lld queries, %lld keys; at most %d", static_cast<long long>(s.queries),
           static_cast<long long>(s.keys), CF_ATTENTION_LENGTH);
  CF_CHECK(s.width >= 1 && s.width <= CF_ATTENTION_WIDTH, "attention: heads of width %lld; 1 to %d",
           static_cast<long long>(s.width), CF_ATTENTION_WIDTH);
  CF_CHECK(s.direction >= CF_ATTENTION_FULL && s.direction <= CF_ATTENTION_BOTH, "attention: direction %d",
           s.direction);
  CF_CHECK(s.direction != CF_ATTENTION_BOTH || s.directions == 2,
           "attention: both directions need a leading axis of 2");
  CF_CHECK(s.dtype >= CF_ATTENTION_F32 && s.dtype <= CF_ATTENTION_BF16, "attention: dtype %d", s.dtype);
  CF_CHECK(s.dropout >= 0 && s.dropout < 1, "attention: dropout %g", static_cast<double>(s.dropout));
  CF_CHECK(s.dropout == 0 || seed, "attention: dropout without a seed");
  return CF_OK;
}

}  // namespace chordfast
