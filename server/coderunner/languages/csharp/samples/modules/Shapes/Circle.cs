using System;

namespace Shapes {
    public class Circle {
        readonly double radius;

        public Circle(double radius) => this.radius = radius;

        public double Area => Math.PI * radius * radius;
    }
}
