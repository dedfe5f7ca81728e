identification division.
program-id. greeting.
data division.
working-storage section.
01 name pic x(64).
procedure division.
    display "What is your name? " with no advancing
    accept name
    display "Hello, " function trim(name) "!"
    stop run.
