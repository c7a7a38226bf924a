#include "testing.h"

int main() {
  int failed = 0;
  for (const gatun::testing::Test &test : gatun::testing::all_tests()) {
    gatun::testing::failures() = 0;
    test.body();
    if (gatun::testing::failures() > 0) {
      ++failed;
      std::fprintf(stderr, "FAILED %s: %d checks\n", test.name, gatun::testing::failures());
    }
  }
  std::printf("%zu tests, %d failed\n", gatun::testing::all_tests().size(), failed);
  return failed == 0 ? 0 : 1;
}
