#include "circle.hpp"

#include <numbers>

double area(double radius) {
    return std::numbers::pi * radius * radius;
}
