program Failure;

var
  Zero: Integer;

begin
  WriteLn('before');
  Zero := ParamCount;
  WriteLn(1 div Zero);
end.
