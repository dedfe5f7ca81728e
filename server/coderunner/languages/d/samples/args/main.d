import std.stdio;

void main(string[] args) {
    foreach (i, arg; args[1 .. $]) writeln(i + 1, " ", arg);
}
