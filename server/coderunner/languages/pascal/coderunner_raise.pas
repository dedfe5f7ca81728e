{ Used by each program. Where an exception was raised, the compiler passes on the beginning of the statement, and what looks up
  the line takes that for the end of the statement before. }
unit coderunner_raise;

{$mode objfpc}

interface

implementation

const
  MOST_BYTES = 1024; { of the code of a statement that raises; `raise ... at` names a place that is elsewhere }
  MOST_WORDS = 4096; { of the stack }

var
  previous: TBackTraceStrFunc;

{ Whether the address is of a statement that raised, and not behind a call, as where `raise ... at` names it. Then the stack has
  a return address behind it, below that of the function that raised. (What reports it has no frames: the words are searched.) }
function begins_a_raise(raised: PExceptObject): boolean;
var
  at: PPtrUInt;
  number: integer;
begin
  at := get_frame;
  for number := 1 to MOST_WORDS do
  begin
    inc(at);
    if (pointer(at) >= StackTop) or ((raised^.FrameCount > 0) and (at^ = PtrUInt(raised^.Frames[0]))) then
      exit(false);
    if (at^ > PtrUInt(raised^.Addr)) and (at^ < PtrUInt(raised^.Addr) + MOST_BYTES) then
      exit(true);
  end;
  begins_a_raise := false;
end;

function told(address: CodePointer): shortstring;
begin
  if (RaiseList <> nil) and (RaiseList^.Addr = address) and begins_a_raise(RaiseList) then
    inc(address);
  told := previous(address);
end;

initialization
  previous := BackTraceStrFunc;
  BackTraceStrFunc := @told;
end.
