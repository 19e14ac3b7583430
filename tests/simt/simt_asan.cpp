// Runs cases of the self-test by name, for test_asan.py: simt_asan NAME OPTION INPUT_SIZE [NAME OPTION INPUT_SIZE]...
// Errors go to standard error; the status is that of the first error.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "simt/simt_test.h"

int main(int count, char** words) {
  cf_status first = CF_OK;
  for (int i = 1; i + 2 < count; i += 3) {
    const std::vector<float> in(std::strtoul(words[i + 2], nullptr, 10), 1.0f);
    std::vector<float> out(384);
    const cf_status status = cf_simt_test(words[i], in.data(), static_cast<int64_t>(in.size()), out.data(),
                                          static_cast<int64_t>(out.size()), std::atoi(words[i + 1]));
    if (status != CF_OK) std::fprintf(stderr, "%s\n", cf_last_error());
    if (first == CF_OK) first = status;
  }
  return first;
}
