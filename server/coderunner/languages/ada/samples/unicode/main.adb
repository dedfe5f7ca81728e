with Ada.Text_IO; use Ada.Text_IO;

procedure Main is
begin
   Put_Line ("Grüße");
   Put_Line ("Привет");
   Put_Line ("こんにちは");
   Put_Line ("🙂");
end Main;
