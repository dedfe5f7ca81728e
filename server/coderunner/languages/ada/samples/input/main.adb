with Ada.Text_IO; use Ada.Text_IO;

procedure Main is
begin
   Put ("What is your name? ");
   declare
      Name : constant String := Get_Line;
   begin
      Put_Line ("Hello, " & Name & "!");
   end;
end Main;
