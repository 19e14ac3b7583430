// Runs one case of the self-test by name, for test_asan.py: simt_asan NAME OPTION [INPUT SIZE]; the error goes to
// stderr.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "simt/simt_test.h"

int main(int count, char** words) {
  if (count < 3) return 2;
  const std::vector<float> in(count > 3 ? std::strtoul(words[3], nullptr, 10) : 128, 1.0f);
  std::vector<float> out(384);
  const cf_status status = cf_simt_test(words[1], in.data(), static_cast<int64_t>(in.size()), out.data(),
                                        static_cast<int64_t>(out.size()), std::atoi(words[2]));
  if (status != CF_OK) std::fprintf(stderr, "%s\n", cf_last_error());
  return status;
}
