using System;
using System.Collections.Generic;

class Program {
    static void Main() {
        Console.WriteLine("before");
        var numbers = new List<int>();
        Console.WriteLine(numbers[3]);
    }
}
