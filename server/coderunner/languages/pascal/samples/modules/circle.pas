unit Circle;

interface

function Area(Radius: Double): Double;

implementation

function Area(Radius: Double): Double;
begin
  Area := Pi * Radius * Radius;
end;

end.
