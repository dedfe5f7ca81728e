identification division.
program-id. leaving.
procedure division.
    display "leaving with 7"
    move 7 to return-code
    stop run.
