// Which bits of a sequence belong to which score. A group is the scores of queries {r, r + 8} and keys {c, c + 8} of a
// 16 x 16 block, r, c < 8: whichever way round a tensor core holds a block, each thread owns whole groups. Numbers do
// not depend on the lengths of the sequences.
#pragma once

#include "common/philox.h"

namespace chordfast {

// Block (query / 16, key / 16), r and c as above. Low half of `first`: (r, c), high half: (r, c + 8); `second`: the
// same for r + 8.
CF_PHILOX void dropout_bits(DropoutKey key, int query_block, int key_block, int r, int c, uint32_t& first,
                            uint32_t& second) {
  group_bits(key, static_cast<uint32_t>(((query_block * 16 + key_block) * 8 + r) * 8 + c), first, second);
}

}  // namespace chordfast
