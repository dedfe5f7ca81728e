program Unicode;

begin
  WriteLn('Grüße');
  WriteLn('Привет');
  WriteLn('こんにちは');
  WriteLn('🙂');
end.
