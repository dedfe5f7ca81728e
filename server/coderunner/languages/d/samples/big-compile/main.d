import std;

void main()
{
    auto words = "the quick brown fox jumps over the lazy dog".split.filter!(w => w.length > 3).array.sort;
    writeln(words);
    writeln(matchFirst("caat", regex("a+")).hit);
    writeln(parseJSON(`{"a": [1, 2]}`)["a"][1]);
    writefln("%.3f %s", PI, iota(5).map!(n => n * n));
}
