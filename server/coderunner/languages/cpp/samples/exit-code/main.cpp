#include <iostream>

int main() {
    std::cout << "leaving with 7\n";
    return 7;
}
