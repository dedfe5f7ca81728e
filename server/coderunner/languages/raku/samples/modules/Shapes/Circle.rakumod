unit module Shapes::Circle;

class Circle is export {
    has $.radius;

    method area { pi * $!radius ** 2 }
}
