// Launchers: which width of loads and how many a lane; the workspace; no synchronisation, capturable.
#include <algorithm>
#include <cmath>

#include "common/device.cuh"
#include "kd_loss/kd_loss.h"
#include "kd_loss/kd_loss_kernel.cuh"

namespace {

using namespace chordfast::kd_loss;

int64_t row_blocks(int64_t rows) { return std::max<int64_t>(1, (rows + kRowsPerBlock - 1) / kRowsPerBlock); }

bool aligned(const void* p, int bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// The widest load, up to 16 bytes, at which every row of every array starts.
template <class T>
int elements_a_load(const Args<T>& a) {
  for (int v = 16 / static_cast<int>(sizeof(T)); v > 1; v /= 2) {
    const int bytes = v * static_cast<int>(sizeof(T));
    if (a.classes % v == 0 && aligned(a.student, bytes) && aligned(a.teacher, bytes) && aligned(a.gradient, bytes))
      return v;
  }
  return 1;
}

template <class T>
void launch_rows(const Args<T>& a, void* stream) {
  const dim3 grid(static_cast<unsigned>(row_blocks(a.rows))), block(kWarps * 32);
  const int v = elements_a_load(a), n = a.classes;
#define CF_ROWS(V, P)                                                   \
  if (v >= V && n <= 32 * V * P) {                                      \
    CF_LAUNCH((rows_in_registers<T, V, P>), grid, block, 0, stream, a); \
    return;                                                             \
  }
  constexpr int kWidest = 16 / sizeof(T);
  CF_ROWS(1, 1)
  CF_ROWS(kWidest, (8 / kWidest))
  CF_ROWS(2, 3)
  CF_ROWS(1, 6)
  CF_ROWS(kWidest, (16 / kWidest))
  CF_ROWS(2, 8)
  CF_ROWS(1, 16)
#undef CF_ROWS
  CF_LAUNCH((rows_in_passes<T>), grid, block, 0, stream, a);
}

template <class T>
cf_status forward(const cf_kd_loss_params& p, int device, void* stream) {
  CF_DEVICE(device);
  Args<T> a{};
  const bool has_kd = p.teacher && (!p.target || p.alpha != 0);
  a.student = static_cast<const T*>(p.student);
  a.teacher = has_kd ? static_cast<const T*>(p.teacher) : nullptr;
  a.target = p.target;
  a.mask = p.mask;
  a.class_weights = static_cast<const float*>(p.class_weights);
  a.gradient = static_cast<T*>(p.gradient);
  a.loss = static_cast<float*>(p.loss);
  a.stats = static_cast<float*>(p.stats);
  a.valid = p.valid;
  a.ticket = static_cast<unsigned*>(p.workspace);
  a.counts = static_cast<int*>(p.workspace) + 32;
  a.partial = reinterpret_cast<float*>(a.counts + kCountBlocks);
  a.ignore_index = p.ignore_index;
  a.temperature = static_cast<float>(has_kd ? p.temperature : 1.0);
  a.log2e_by_t = 1.44269504f / a.temperature;
  a.alpha = static_cast<float>(p.alpha);
  a.gamma = static_cast<float>(p.gamma);
  a.low = static_cast<float>(p.low);
  a.high = static_cast<float>(p.high);
  const double slope = chordfast::kd_loss_weight_slope(p.high);
  a.weight_slope = static_cast<float>(slope);
  a.weight_at_1 = static_cast<float>(1 - slope * (1 - p.high));
  a.rows = static_cast<int>(p.rows);
  a.classes = static_cast<int>(p.classes);
  const bool whole = a.temperature <= 4.0f && a.temperature == std::floor(a.temperature);
  a.power = whole ? static_cast<int>(a.temperature) : 0;
  a.selective = p.selective != 0;
  a.has_ignore = p.has_ignore != 0;
  a.has_hard = p.target && (!p.teacher || p.alpha != 1);
  a.late_division = p.dtype == CF_KD_FLOAT16;
  a.count_blocks = static_cast<int>(std::min<int64_t>(kCountBlocks, std::max<int64_t>(1, p.rows / 1024)));
  CF_LAUNCH((count_rows<T>), dim3(static_cast<unsigned>(a.count_blocks)), dim3(256), 0, stream, a);
  CF_LAUNCH_CHECK(stream);
  launch_rows(a, stream);
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

template <class T>
cf_status backward(const void* gradient, const void* grad_output, const void* stats, void* out, int64_t n, int device,
                   void* stream) {
  CF_DEVICE(device);
  if (n == 0) return CF_OK;
  const T* in = static_cast<const T*>(gradient);
  T* to = static_cast<T*>(out);
  const float *output = static_cast<const float*>(grad_output), *stat = static_cast<const float*>(stats);
  constexpr int kWidest = 16 / sizeof(T);
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(1024, (n + 256 * kWidest - 1) / (256 * kWidest)))),
      block(256);
  if (aligned(in, 16) && aligned(to, 16))
    CF_LAUNCH((scale<T, kWidest>), grid, block, 0, stream, in, to, output, stat, n);
  else
    CF_LAUNCH((scale<T, 1>), grid, block, 0, stream, in, to, output, stat, n);
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

}  // namespace

extern "C" int64_t cf_kd_loss_workspace(int64_t rows) {
  return static_cast<int64_t>(sizeof(float)) * (32 + kCountBlocks + row_blocks(rows) * kSums);
}

extern "C" cf_status cf_kd_loss_fwd_cuda(const cf_kd_loss_params* p, int device, void* stream) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(
        p->loss && p->stats && p->valid && p->workspace && (p->rows == 0 || (p->student && (p->teacher || p->target))),
        "kd_loss: a pointer is missing");
    CF_CHECK(p->rows >= 0 && p->classes >= 1 && p->rows < (int64_t{1} << 31) - kRowsPerBlock && p->classes < 1 << 30,
             "kd_loss: %lld rows of %lld classes", static_cast<long long>(p->rows), static_cast<long long>(p->classes));
    CF_CHECK(p->temperature > 0 && p->gamma >= 0, "kd_loss: temperature %g, gamma %g", p->temperature, p->gamma);
    if (p->dtype == CF_KD_FLOAT32) return forward<float>(*p, device, stream);
    if (p->dtype == CF_KD_BFLOAT16) return forward<__nv_bfloat16>(*p, device, stream);
    if (p->dtype == CF_KD_FLOAT16) return forward<__half>(*p, device, stream);
    return chordfast::fail(CF_INVALID, __FILE__, __LINE__, "kd_loss: no kernel for dtype %d", p->dtype);
  });
}

extern "C" cf_status cf_kd_loss_bwd_cuda(const void* gradient, const void* grad_output, const void* stats, void* out,
                                         int64_t n, int dtype, int device, void* stream) {
  return CF_GUARD([&]() -> cf_status {
    if (dtype == CF_KD_FLOAT32) return backward<float>(gradient, grad_output, stats, out, n, device, stream);
    if (dtype == CF_KD_BFLOAT16) return backward<__nv_bfloat16>(gradient, grad_output, stats, out, n, device, stream);
    if (dtype == CF_KD_FLOAT16) return backward<__half>(gradient, grad_output, stats, out, n, device, stream);
    return chordfast::fail(CF_INVALID, __FILE__, __LINE__, "kd_loss: no kernel for dtype %d", dtype);
  });
}
