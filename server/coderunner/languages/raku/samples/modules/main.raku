use lib ".";
use Shapes::Circle;

say Circle.new(radius => 2).area.fmt("%.3f");
