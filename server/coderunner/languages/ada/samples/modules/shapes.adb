with Ada.Numerics;

package body Shapes is
   function Area (Radius : Float) return Float is
   begin
      return Ada.Numerics.Pi * Radius ** 2;
   end Area;
end Shapes;
