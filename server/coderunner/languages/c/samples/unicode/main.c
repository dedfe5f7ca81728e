#include <stdio.h>

int main(void) {
    puts("Grüße\nПривет\nこんにちは\n🙂");
}
