@include "shapes/circle.awk"

BEGIN {
    printf "%.3f\n", circle_area(2)
}
