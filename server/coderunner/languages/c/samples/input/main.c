#include <stdio.h>

int main(void) {
    char name[64];
    printf("What is your name? ");
    fflush(stdout);
    if (scanf("%63s", name) == 1) printf("Hello, %s!\n", name);
}
