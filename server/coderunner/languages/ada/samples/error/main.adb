with Ada.Text_IO;

procedure Main is
   Numbers : array (1 .. 3) of Integer := (1, 2, 3);
   Place   : Integer := 3;
begin
   Ada.Text_IO.Put_Line ("before");
   Place := Place + Numbers (1);
   Ada.Text_IO.Put_Line (Numbers (Place)'Image);
end Main;
