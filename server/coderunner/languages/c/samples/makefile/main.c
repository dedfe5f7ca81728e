#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int number = argc > 1 ? atoi(argv[1]) : 2;
    printf("built by %s\n%d squared is %d\n", BUILDER, number, number * number);
}
