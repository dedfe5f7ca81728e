identification division.
program-id. failure.
data division.
working-storage section.
01 name pic x(8) value "nowhere".
procedure division.
    display "before"
    call name
    stop run.
