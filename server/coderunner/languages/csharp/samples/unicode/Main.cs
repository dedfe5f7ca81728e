using System;
using System.Globalization;

class Program {
    static void Main() {
        foreach (var word in new[] { "Grüße", "Привет", "こんにちは", "🙂" })
            Console.WriteLine($"{word} {new StringInfo(word).LengthInTextElements}");
    }
}
