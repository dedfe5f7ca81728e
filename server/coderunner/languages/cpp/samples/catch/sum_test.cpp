#include <catch2/catch_test_macros.hpp>

#include "sum.hpp"

TEST_CASE("sums") {
  REQUIRE(sum(1, 2) == 3);
  CHECK(sum(-1, 1) == 0);
}
