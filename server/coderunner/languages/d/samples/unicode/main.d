import std.range, std.stdio;

void main() {
    foreach (word; ["Grüße", "Привет", "こんにちは", "🙂"]) writeln(word, " ", word.walkLength);
}
