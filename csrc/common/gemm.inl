// Small matrix products of floats, included once per SIMD level inside namespace CF_LEVEL; sums run over k in rising
// order, so that the bits depend on the SIMD level only.
#if CF_WIDTH == 16
enum { kRows = 8, kColumns = 3 };  // 24 sums, 3 vectors and a broadcast in 32 registers
#else
enum { kRows = 4, kColumns = 2 };
#endif

// c[r][n] (+)= sum_k a[r * a_row + k * a_k] * b[k * ldb + n] for R rows and V vectors of columns.
template <int R, int V, bool kAdd>
static inline void block(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t ldb, int depth, float* c,
                         int64_t ldc) {
  cf_reg sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = kAdd ? cf_load(c + r * ldc + v * CF_WIDTH) : (cf_reg){};
  for (int k = 0; k < depth; ++k) {
    cf_reg line[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) line[v] = cf_load(b + k * ldb + v * CF_WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const cf_reg value = a[r * a_row + k * a_k] - (cf_reg){};
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += value * line[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) cf_store(c + r * ldc + v * CF_WIDTH, sum[r][v]);
}

template <int R, bool kAdd>
static inline void rows(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t ldb, int depth, float* c,
                        int64_t ldc, int vectors) {
  for (int v = 0; v < vectors;) {
    const int left = vectors - v, count = left == 4 ? 2 : left < kColumns ? left : kColumns;
    const float* from = b + v * CF_WIDTH;
    float* to = c + v * CF_WIDTH;
    if (count == 1) block<R, 1, kAdd>(a, a_row, a_k, from, ldb, depth, to, ldc);
    if (count == 2) block<R, 2, kAdd>(a, a_row, a_k, from, ldb, depth, to, ldc);
#if CF_WIDTH == 16
    if (count == 3) block<R, 3, kAdd>(a, a_row, a_k, from, ldb, depth, to, ldc);
#endif
    v += count;
  }
}

template <bool kAdd>
static void gemm(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t ldb, int depth, float* c,
                 int64_t ldc, int n_rows, int vectors) {
  int r = 0;
  for (; r + kRows <= n_rows; r += kRows)
    rows<kRows, kAdd>(a + r * a_row, a_row, a_k, b, ldb, depth, c + r * ldc, ldc, vectors);
#if CF_WIDTH == 16
  for (; r + 4 <= n_rows; r += 4) rows<4, kAdd>(a + r * a_row, a_row, a_k, b, ldb, depth, c + r * ldc, ldc, vectors);
#endif
  for (; r + 2 <= n_rows; r += 2) rows<2, kAdd>(a + r * a_row, a_row, a_k, b, ldb, depth, c + r * ldc, ldc, vectors);
  for (; r < n_rows; ++r) rows<1, kAdd>(a + r * a_row, a_row, a_k, b, ldb, depth, c + r * ldc, ldc, vectors);
}
