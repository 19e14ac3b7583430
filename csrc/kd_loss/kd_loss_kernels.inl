// Compiled once per SIMD level inside namespace CF_LEVEL. A batch of up to 16 rows goes through three steps:
// exponentials and sums row by row, the few logarithms and powers with one row a lane, gradients row by row.
#include "common/simd.h"
#include "kd_loss/kd_loss_kernels.h"

namespace chordfast {
namespace CF_LEVEL {

#include "kd_loss/kd_loss_math.inl"

template <int power>
static inline cf_reg raise(cf_reg x) {
  if constexpr (power == 2) return x * x;
  if constexpr (power == 3) return x * x * x;
  if constexpr (power == 4) return (x * x) * (x * x);
  return x;
}

// One number a row, a row a lane; max is that of the row's own logits, d their distances to it.
struct Rows {
  // sums of exp(dz/T), of exp(du/T), of exp(du/T) (du - dz), and the second without its largest where that is nearly
  // all
  float soft[kKdBatch], teach[kKdBatch], cross[kKdBatch], rest[kKdBatch];
  // sum of exp(dz) without the target's, the target's, its dz, the weight of its class
  float others[kKdBatch], own[kKdBatch], below[kKdBatch], weight[kKdBatch];
  // factors of the gradient: of exp(dz/T), exp(du/T), exp(dz); what the hard loss gives the target
  float to_soft[kKdBatch], to_teach[kKdBatch], to_hard[kKdBatch], at_target[kKdBatch];
};

// Sum of the exponentials without one of those that are 1, to the precision of what is left.
static float without_largest(const float* teach, int64_t padded) {
  cf_reg sum = {}, ones = {};
  for (int64_t j = 0; j < padded; j += CF_WIDTH) {
    const cf_reg e = cf_load(teach + j);
    sum += e < 1.0f ? e : splat(0.0f);
    ones += e < 1.0f ? splat(0.0f) : splat(1.0f);
  }
  return sum_lanes(sum) + (sum_lanes(ones) - 1.0f);
}

// One row's logits as floats, and their largest; u without a teacher is z.
struct Row {
  const float *z, *u;
  float max_z, max_u;
};

template <bool has_teacher>
static inline void find_largest(Row* row, int64_t n) {
  const int64_t whole = n / CF_WIDTH * CF_WIDTH;
  cf_reg top_z = splat(kNothing), top_u = top_z;
  for (int64_t j = 0; j < whole; j += CF_WIDTH) {
    top_z = larger(top_z, cf_load(row->z + j));
    if (has_teacher) top_u = larger(top_u, cf_load(row->u + j));
  }
  if (const int rest = (int)(n - whole)) {
    top_z = larger(top_z, load_first(row->z + whole, rest));
    if (has_teacher) top_u = larger(top_u, load_first(row->u + whole, rest));
  }
  row->max_z = max_lanes(top_z);
  row->max_u = has_teacher ? max_lanes(top_u) : 0.0f;
}

// Exponentials of one row and their sums; soft, teach, hard: where the exponentials go (padded).
template <int power, bool has_teacher, bool has_target>
static inline void sums_of_row(const KdLossBatch& job, const Row& row, float softer, int64_t y, float* soft,
                               float* teach, float* hard, int r, Rows* rows) {
  const int64_t n = job.classes, whole = n / CF_WIDTH * CF_WIDTH;
  const int rest = (int)(n - whole);
  const float *z = row.z, *u = row.u, max_z = row.max_z, max_u = row.max_u;
  cf_reg sum_soft = {}, sum_teach = {}, sum_cross = {}, sum_others = {};
#if CF_WIDTH == 16
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i wanted = _mm512_set1_epi32((int)y), step = _mm512_set1_epi32(16);
#else
  cf_int lane;
  for (int i = 0; i < CF_WIDTH; ++i) lane[i] = i;
#endif
  auto add = [&](cf_reg zj, cf_reg uj, int64_t j) __attribute__((always_inline)) {
    const cf_reg dz = zj - max_z, ez = exp2_negative(dz * softer);
    cf_store(soft + j, ez);
    if (has_teacher) {
      const cf_reg du = uj - max_u, eu = exp2_negative(du * softer);
      cf_store(teach + j, eu);
      sum_soft += ez;
      sum_teach += eu;
      // Where the teacher gives exactly 0 the term is 0, whatever -inf stands beside it.
#if CF_WIDTH == 16
      const __mmask16 any = _mm512_cmp_ps_mask((__m512)eu, _mm512_setzero_ps(), _CMP_GT_OQ);
      sum_cross = (cf_reg)_mm512_mask3_fmadd_ps((__m512)eu, (__m512)(du - dz), (__m512)sum_cross, any);
#else
      const cf_reg term = eu * (du - dz);
      sum_cross += (cf_reg)((cf_int)term & (cf_int)(eu > 0.0f));
#endif
    }
    if (has_target) {
      cf_reg e1 = raise<power>(ez);
      if (power == 0) {
        e1 = exp2_negative(dz * kLog2E);
        cf_store(hard + j, e1);
      }
#if CF_WIDTH == 16
      sum_others = (cf_reg)_mm512_mask_add_ps((__m512)sum_others, _mm512_cmpneq_epi32_mask(lane, wanted),
                                              (__m512)sum_others, (__m512)e1);
      lane = _mm512_add_epi32(lane, step);
#else
      sum_others += (cf_reg)((cf_int)e1 & (cf_int)(lane != (int)y));
      lane += CF_WIDTH;
#endif
    }
  };
  for (int64_t j = 0; j < whole; j += CF_WIDTH) add(cf_load(z + j), has_teacher ? cf_load(u + j) : cf_reg{}, j);
  if (rest) add(load_first(z + whole, rest), has_teacher ? load_first(u + whole, rest) : cf_reg{}, whole);

  if (has_teacher) {
    rows->soft[r] = sum_lanes(sum_soft);
    rows->teach[r] = sum_lanes(sum_teach);
    rows->cross[r] = sum_lanes(sum_cross);
    const bool sure = job.selective && rows->teach[r] * job.high < 1.0f;
    rows->rest[r] = sure ? without_largest(teach, (n + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH) : 0.0f;
  }
  if (has_target) {
    rows->others[r] = sum_lanes(sum_others);
    const float own = power == 0 ? hard[y] : soft[y];
    rows->own[r] = power <= 1 ? own : power == 2 ? own * own : power == 3 ? own * own * own : (own * own) * (own * own);
    rows->below[r] = z[y] - max_z;
    rows->weight[r] = job.class_weights ? job.class_weights[y] : 1.0f;
  }
}

// Losses and the gradient's factors, CF_WIDTH rows at a time. `values` receive what a row adds to the sums.
static void finish_rows(const KdLossBatch& job, Rows* rows, int at, float* kd, float* hard, float* dropped,
                        float* damped) {
  cf_reg w = splat(1.0f), scale = {};
  if (job.teacher) {
    const cf_reg soft = cf_load(rows->soft + at), teach = cf_load(rows->teach + at), cross = cf_load(rows->cross + at);
    const cf_reg confidence = 1.0f / teach;  // the largest exponential is exp(0)
    const cf_reg divergence = cross / (teach * job.temperature) + (natural_log(soft) - natural_log(teach));
    if (job.selective) {
      const cf_int is_low = (confidence < job.low), is_high = teach * job.high < 1.0f;
      // 1 - c from the sum without the largest: the difference of rounded numbers would leave few digits.
      const cf_reg above = job.weight_at_1 + job.weight_slope * (cf_load(rows->rest + at) / teach);
      w = is_high ? above : w;
      w = is_low ? splat(0.0f) : w;
      cf_store(dropped, is_low ? splat(1.0f) : splat(0.0f));
      cf_store(damped, is_high ? splat(1.0f) : splat(0.0f));
    }
    const cf_reg none = divergence == divergence ? splat(0.0f) : divergence;
    cf_store(kd, w > 0.0f ? job.temperature * job.temperature * w * divergence : none);
    scale = job.kd_scale * w;
    cf_store(rows->to_soft + at, scale / soft);
    cf_store(rows->to_teach + at, scale / teach);
  }
  if (!job.target) return;
  const cf_reg others = cf_load(rows->others + at), own = cf_load(rows->own + at), below = cf_load(rows->below + at);
  const cf_reg sum = others + own, p = own / sum, q = others / sum, o = cf_load(rows->weight + at);
  const cf_reg minus_log_p = own >= 0.5f ? log_1_plus(others / own) : natural_log(sum) - below;
  const cf_reg p_log_p = p > 0.0f ? p * minus_log_p : p;
  cf_reg modulation = splat(1.0f), slope = splat(-1.0f);
  if (job.gamma > 0.0f) {
    const cf_int certain = q == 0.0f;
    cf_reg slower;  // q^(gamma - 1)
    if (job.gamma == 1.0f) {
      slower = splat(1.0f);
      modulation = q;
    } else if (job.gamma == 2.0f) {
      slower = q;
      modulation = q * q;
    } else {
      const cf_reg safe = certain ? splat(1.0f) : q;
      modulation = exp2_negative(job.gamma * kLog2E * natural_log(safe));
      slower = modulation / safe;
    }
    slope = -job.gamma * p_log_p * slower - modulation;
    modulation = certain ? splat(0.0f) : modulation;
    slope = certain ? splat(0.0f) : slope;
  }
  const cf_reg value = o * modulation * minus_log_p;
  cf_store(hard, job.gamma > 0.0f ? (q == 0.0f ? splat(0.0f) : value) : value);
  const cf_reg b = job.hard_scale * o * slope;
  cf_store(rows->to_hard + at, b / sum);
  cf_store(rows->at_target + at, b * q);
}

template <int power, bool has_teacher, bool has_target>
static inline void gradient_of_row(const KdLossBatch& job, const float* soft, const float* teach, const float* hard,
                                   int64_t y, int r, const Rows& rows, float* gradient) {
  const int64_t n = job.classes, whole = n / CF_WIDTH * CF_WIDTH;
  const float a = has_teacher ? rows.to_soft[r] : 0.0f, b = has_teacher ? rows.to_teach[r] : 0.0f;
  const float c = has_target ? rows.to_hard[r] : 0.0f;
  auto value = [&](int64_t j) __attribute__((always_inline)) {
    const cf_reg ez = cf_load(soft + j);
    cf_reg g = {};
    if (has_teacher) g = ez * a - cf_load(teach + j) * b;
    if (has_target) g -= (power == 0 ? cf_load(hard + j) : raise<power>(ez)) * c;
    return g;
  };
  for (int64_t j = 0; j < whole; j += CF_WIDTH) cf_store(gradient + j, value(j));
  if (whole < n) store_first(gradient + whole, value(whole), (int)(n - whole));
  if (has_target) {
    float g = rows.at_target[r];
    if (has_teacher) g += soft[y] * a - teach[y] * b;
    gradient[y] = g;
  }
}

// Has `bytes` from `p` on brought into the cache, for reading or writing.
template <int for_writing>
static inline void prefetch(const void* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) {
#if defined(__AVX2__)
    if (for_writing) {  // GCC would need an option of its own; without the instruction's support it does nothing
      __asm__ volatile("prefetchw %0" : : "m"(*((const char*)p + i)));
      continue;
    }
#endif
    __builtin_prefetch((const char*)p + i, for_writing, 3);
  }
}

template <int power, bool has_teacher, bool has_target>
static void batch_of(const KdLossBatch& job, const int64_t* index, int count, float* scratch, KdLossSums* sums) {
  const int64_t n = job.classes, padded = job.padded;
  float* const soft = scratch;
  float* const teach = soft + kKdBatch * padded;
  float* const hard = teach + kKdBatch * padded;
  float* const wide = hard + kKdBatch * padded;
  float* const wide_g = wide + 4 * padded;
  const bool narrow_type = job.dtype != 0, bfloat = job.dtype == 1;
  Rows rows;
  for (int r = 0; r < kKdBatch; ++r) {  // rows that are not there: any numbers that do no harm
    rows.soft[r] = rows.teach[r] = rows.own[r] = rows.others[r] = 1.0f;
    rows.cross[r] = rows.below[r] = rows.weight[r] = rows.rest[r] = 0.0f;
  }
  auto open = [&](int r) {
    const int64_t at = index[r] * n, bytes = narrow_type ? 2 : 4;
    // The logits of three rows on, and the gradient's place, to be written once the batch's sums are known: left to the
    // processor's own prefetching, memory and arithmetic take turns.
    prefetch<0>((const char*)job.student + (at + 3 * n) * bytes, n * bytes);
    if (has_teacher) prefetch<0>((const char*)job.teacher + (at + 3 * n) * bytes, n * bytes);
    if (job.gradient) prefetch<1>((char*)job.gradient + at * bytes, n * bytes);
    Row row{(const float*)job.student + at, (const float*)(has_teacher ? job.teacher : job.student) + at, 0.0f, 0.0f};
    if (narrow_type) {
      float *to_z = wide + (r & 1) * 2 * padded, *to_u = to_z + padded;
      widen_row((const unsigned short*)job.student + at, n, padded, bfloat, to_z);
      if (has_teacher) widen_row((const unsigned short*)job.teacher + at, n, padded, bfloat, to_u);
      row.z = to_z;
      row.u = to_u;
    }
    find_largest<has_teacher>(&row, n);
    return row;
  };
  const float softer = has_teacher ? kLog2E / job.temperature : kLog2E;
  Row now = open(0);
  for (int r = 0; r < count; ++r) {
    // The next row's maxima before this row's exponentials: those then never wait for a reduction.
    const Row next = r + 1 < count ? open(r + 1) : now;
    sums_of_row<power, has_teacher, has_target>(job, now, softer, has_target ? job.target[index[r]] : 0,
                                                soft + r * padded, teach + r * padded, hard + r * padded, r, &rows);
    now = next;
  }
  float kd[kKdBatch] = {}, focal[kKdBatch] = {}, dropped[kKdBatch] = {}, damped[kKdBatch] = {};
  for (int r = 0; r < count; r += CF_WIDTH) finish_rows(job, &rows, r, kd + r, focal + r, dropped + r, damped + r);
  *sums = KdLossSums{};
  for (int r = 0; r < count; ++r) {
    sums->kd += kd[r];
    sums->hard += focal[r];
    sums->dropped += dropped[r];
    sums->damped += damped[r];
  }
  if (!job.gradient) return;
  for (int r = 0; r < count; ++r) {
    const int64_t at = index[r] * n;
    gradient_of_row<power, has_teacher, has_target>(job, soft + r * padded, teach + r * padded, hard + r * padded,
                                                    has_target ? job.target[index[r]] : 0, r, rows,
                                                    narrow_type ? wide_g : (float*)job.gradient + at);
    if (narrow_type) narrow_row(wide_g, n, bfloat, (unsigned short*)job.gradient + at);
  }
}

static void batch(const KdLossBatch& job, const int64_t* index, int count, float* scratch, KdLossSums* sums) {
  if (!job.teacher) return batch_of<1, false, true>(job, index, count, scratch, sums);
  if (!job.target) return batch_of<1, true, false>(job, index, count, scratch, sums);
  switch (job.power) {
    case 1: return batch_of<1, true, true>(job, index, count, scratch, sums);
    case 2: return batch_of<2, true, true>(job, index, count, scratch, sums);
    case 3: return batch_of<3, true, true>(job, index, count, scratch, sums);
    case 4: return batch_of<4, true, true>(job, index, count, scratch, sums);
    default: return batch_of<0, true, true>(job, index, count, scratch, sums);
  }
}

static void scale(const void* in, void* out, int64_t n, float factor, int dtype) {
  int64_t i = 0;
  if (dtype == 0) {
    const float* from = (const float*)in;
    float* to = (float*)out;
    for (; i + CF_WIDTH <= n; i += CF_WIDTH) cf_store(to + i, cf_load(from + i) * factor);
    for (; i < n; ++i) to[i] = from[i] * factor;
    return;
  }
  const unsigned short* from = (const unsigned short*)in;
  unsigned short* to = (unsigned short*)out;
  const bool bfloat = dtype == 1;
  for (; i + CF_WIDTH <= n; i += CF_WIDTH) narrow(widen(from + i, bfloat) * factor, to + i, bfloat);
  if (i == n) return;
  unsigned short rest[CF_WIDTH] = {};
  for (int k = 0; k < n - i; ++k) rest[k] = from[i + k];
  narrow(widen(rest, bfloat) * factor, rest, bfloat);
  for (int k = 0; k < n - i; ++k) to[i + k] = rest[k];
}

static const KdLossKernels table = {batch, scale};

}  // namespace CF_LEVEL
}  // namespace chordfast
