#include <iostream>
#include <string>

int main(int argc, char **argv) {
    int number = argc > 1 ? std::stoi(argv[1]) : 2;
    std::cout << "built by " << BUILDER << "\n" << number << " squared is " << number * number << "\n";
}
