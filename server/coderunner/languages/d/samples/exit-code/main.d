import std.stdio;

int main() {
    writeln("leaving with 7");
    return 7;
}
