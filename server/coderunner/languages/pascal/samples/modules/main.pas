program Areas;

uses
  Circle;

begin
  WriteLn(Area(2):0:3);
end.
