#include <cstdio>

#include "shapes/circle.hpp"

int main() {
    std::printf("%.3f\n", area(2));
}
