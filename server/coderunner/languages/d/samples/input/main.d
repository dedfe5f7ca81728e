import std.stdio, std.string;

void main() {
    write("What is your name? ");
    stdout.flush();
    writefln("Hello, %s!", readln().strip());
}
