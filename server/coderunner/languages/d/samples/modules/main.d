import std.stdio;
import shapes.circle;

void main() {
    writefln("%.3f", Circle(2).area);
}
