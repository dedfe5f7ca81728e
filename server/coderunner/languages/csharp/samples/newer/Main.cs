Console.WriteLine($"Hello, {args[0]}!");

var shape = new Circle(1) with { Radius = 2 };
Console.WriteLine(shape);
Console.WriteLine(Describe(shape));

int[] numbers = { 1, 2, 3 };
Console.WriteLine(string.Join(", ", numbers[1..]));

static string Describe(Shape shape) => shape switch
{
    Circle { Radius: > 1 and < 10 } => "round, large",
    Circle => "round",
    _ => "something else",
};
