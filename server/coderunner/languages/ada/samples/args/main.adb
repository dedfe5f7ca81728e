with Ada.Command_Line; use Ada.Command_Line;
with Ada.Text_IO;

procedure Main is
begin
   for I in 1 .. Argument_Count loop
      declare
         Number : constant String := I'Image;
      begin
         Ada.Text_IO.Put_Line (Number (2 .. Number'Last) & " " & Argument (I));
      end;
   end loop;
end Main;
