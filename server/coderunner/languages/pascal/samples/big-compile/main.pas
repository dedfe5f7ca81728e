program Main;
{$mode delphi}{$warnings off}{$hints off}{$notes off}
uses
  Generics.Collections, SysUtils;
var
  Ages: TDictionary<string, Integer>;
  Names: TList<string>;
begin
  Ages := TDictionary<string, Integer>.Create;
  Ages.Add('Ada', 36);
  Names := TList<string>.Create;
  Names.Add('b');
  Names.Add('a');
  Names.Sort;
  WriteLn(Ages['Ada'], ' ', Names[0]);
  Names.Free;
  Ages.Free;
end.
