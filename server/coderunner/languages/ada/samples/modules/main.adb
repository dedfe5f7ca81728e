with Ada.Float_Text_IO;
with Ada.Text_IO;
with Shapes;

procedure Main is
begin
   Ada.Float_Text_IO.Put (Shapes.Area (2.0), Fore => 1, Aft => 3, Exp => 0);
   Ada.Text_IO.New_Line;
end Main;
