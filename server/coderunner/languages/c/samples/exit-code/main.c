#include <stdio.h>

int main(void) {
    puts("leaving with 7");
    return 7;
}
