program Arguments;

var
  I: Integer;

begin
  for I := 1 to ParamCount do
    WriteLn(I, ' ', ParamStr(I));
end.
