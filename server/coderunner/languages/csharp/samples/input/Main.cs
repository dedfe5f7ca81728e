using System;

class Program {
    static void Main() {
        Console.Write("What is your name? ");
        Console.WriteLine($"Hello, {Console.ReadLine()}!");
    }
}
