abstract record Shape;

record Circle(double Radius) : Shape;
