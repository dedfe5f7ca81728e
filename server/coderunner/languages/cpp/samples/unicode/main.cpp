#include <iostream>

int main() {
    std::cout << "Grüße\nПривет\nこんにちは\n🙂\n";
}
