using System;
using Shapes;

class Program {
    static void Main() {
        Console.WriteLine(new Circle(2).Area.ToString("F3"));
    }
}
