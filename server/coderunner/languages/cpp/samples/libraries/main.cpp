#include <gmpxx.h>

#include <iostream>
#include <nlohmann/json.hpp>

int main() {
  auto document = nlohmann::json::parse(R"({"a": [1, 2, 3]})");
  document["b"] = true;
  std::cout << document.dump() << '\n';
  mpz_class big = 1;
  for (int n = 2; n <= 25; ++n) big *= n;
  std::cout << big << '\n';
}
