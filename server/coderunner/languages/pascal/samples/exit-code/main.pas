program Leaving;

begin
  WriteLn('leaving with 7');
  Halt(7);
end.
