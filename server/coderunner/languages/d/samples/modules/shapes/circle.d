module shapes.circle;

import std.math : PI;

struct Circle {
    double radius;

    double area() const {
        return PI * radius * radius;
    }
}
