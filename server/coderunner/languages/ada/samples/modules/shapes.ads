package Shapes is
   function Area (Radius : Float) return Float;
end Shapes;
