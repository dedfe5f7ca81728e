program Input;

var
  Name: string;

begin
  Write('What is your name? ');
  ReadLn(Name);
  WriteLn('Hello, ', Name, '!');
end.
