#include "testing.h"

/** With an argument, only the tests whose name has it in it. */
int main(int argc, char **argv) {
  size_t run = 0;
  int failed = 0;
  for (const gatun::testing::Test &test : gatun::testing::all_tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    ++run;
    gatun::testing::failures() = 0;
    test.body();
    if (gatun::testing::failures() > 0) {
      ++failed;
      std::fprintf(stderr, "FAILED %s: %d checks\n", test.name, gatun::testing::failures());
    }
  }
  std::printf("%zu tests, %d failed\n", run, failed);
  return failed == 0 && run > 0 ? 0 : 1;
}
