#include <stdio.h>

#include "shapes/circle.h"

int main(void) {
    printf("%.3f\n", area(2));
}
